"""Parent-death watchdog: runs a command that is killed when its parent dies.

It is run by its path: ``die_with_parent.py PARENT_PID COMMAND…``. A parent that is killed cannot
stop its children; on Linux, the kernel does it.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""See prctl(2)."""


def main() -> None:
    """Tie this process to its parent, and replace it by the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have died before the call.
        if os.getppid() != parent:
            sys.exit("the parent process has ended")
    os.execvp(command[0], command)  # noqa: S606 - replacing the process is the purpose


if __name__ == "__main__":
    main()
