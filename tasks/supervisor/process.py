"""One supervised process: started, watched, and started again after it has ended."""

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
"""A process that has run this long is started again immediately, as after its first end."""
FIRST_WAIT_SECONDS: Final = 1.0
LONGEST_WAIT_SECONDS: Final = 60.0


def with_parent_death_watchdog(command: Sequence[str]) -> list[str]:
    """Return a command that is killed when this process ends, however it ends. Linux only."""
    return [sys.executable, "-I", str(WATCHDOG), str(os.getpid()), *command]


class SupervisedProcess:
    """A process that should run until it is told to stop.

    Attributes:
        name: Its name for people.
        due: When it is to be started, by the monotonic clock; None while it runs.
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
        """Whether it was started, and its end was not noticed yet."""
        return self._process is not None

    def start(self) -> int:
        """Start it, and return its process ID.

        In a process group of its own it gets no Ctrl-C of the terminal: the supervisor passes
        that on, so that it arrives once.
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
        """Return how it has ended, once: its exit status, or a signal as a negative number."""
        if self._process is None or self._process.poll() is None:
            return None
        status = self._process.returncode
        self._process = None
        if time.monotonic() - self._started >= STABLE_SECONDS:
            self._failures = 0
        return status

    def schedule(self) -> float:
        """Let it be started again, and return in how many seconds: longer after each early end."""
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
