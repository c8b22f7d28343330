"""A supervised process, which is restarted after it has ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

WATCHDOG: Final = Path(__file__).with_name("die_with_parent.py")
STABLE_SECONDS: Final = 60.0
"""After a process has run this long, its next restart has the first wait again."""
FIRST_WAIT_SECONDS: Final = 1.0
LONGEST_WAIT_SECONDS: Final = 60.0


def with_parent_death_watchdog(command: Sequence[str]) -> list[str]:
    """Return a command that is killed when this process ends, however it ends. Linux only."""
    return [sys.executable, "-I", str(WATCHDOG), str(os.getpid()), *command]


class SupervisedProcess:
    """A process that the supervisor keeps running until it stops it.

    Attributes:
        name: The name of the process in log lines.
        due: When the process will be started, by the monotonic clock; None while it runs.
    """

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> None:
        self.name = name
        self.due: float | None = time.monotonic()
        self._command = with_parent_death_watchdog(command)
        self._env = dict(env)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._failures = 0

    @property
    def runs(self) -> bool:
        """Whether it was started, and ``ended`` has not returned its exit status yet."""
        return self._process is not None

    def start(self) -> int:
        """Start it, and return its process ID.

        It has a process group of its own, so that a Ctrl-C in the terminal reaches it only once:
        forwarded by the supervisor.
        """
        self._process = subprocess.Popen(  # noqa: S603 - the command is our own
            self._command, env=self._env, stdin=subprocess.DEVNULL, process_group=0
        )
        self._started, self.due = time.monotonic(), None
        return self._process.pid

    def send(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def ended(self) -> int | None:
        """Return its exit status, once after it has ended; a signal is a negative number."""
        if self._process is None or self._process.poll() is None:
            return None
        status = self._process.returncode
        self._process = None
        if time.monotonic() - self._started >= STABLE_SECONDS:
            self._failures = 0
        return status

    def schedule(self) -> float:
        """Schedule a restart, and return the wait in seconds, which doubles with each early end."""
        wait = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * (1 << self._failures))
        self._failures = min(self._failures + 1, 10)
        self.due = time.monotonic() + wait
        return wait


def describe_end(status: int) -> str:
    """Return how a process has ended, for people."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
