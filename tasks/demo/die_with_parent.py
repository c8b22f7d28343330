"""Run a command that does not outlive the process that started it.

A program of its own, run by its path: ``die_with_parent.py PARENT COMMAND…``. A process that is
killed outright cannot clean up, so on Linux the kernel is asked to do it.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""See prctl(2)."""


def main() -> None:
    """Bind this process to its parent, and become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have gone before the kernel was asked.
        if os.getppid() != parent:
            sys.exit("the process that started this one is gone")
    os.execvp(command[0], command)  # noqa: S606 - becoming the command is the point


if __name__ == "__main__":
    main()
