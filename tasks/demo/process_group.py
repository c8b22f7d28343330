"""Child processes that are started, watched and stopped together."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tasks.supervisor.process import with_parent_death_watchdog

POLL_SECONDS: Final = 0.1
COMMAND_GRACE_SECONDS: Final = 2.0
LOG_LINES: Final = 20
"""Lines of a log that an error message quotes."""


class ChildEndedError(RuntimeError):
    """A process ended that should be running. The text names it and quotes its log."""


class NotReadyError(RuntimeError):
    """A process was not ready in time."""


class Interrupts:
    """Raises KeyboardInterrupt for a signal, but not within a call that must not be interrupted.

    If an exception ended a call of `Popen`, its lock could stay locked, and the next `wait` would
    never end.
    """

    def __init__(self) -> None:
        self._is_postponed = False
        self._has_arrived = False

    def handle(self, _number: int, _frame: object) -> None:
        """Handle a signal: `signal.signal` takes this method."""
        if not self._is_postponed:
            raise KeyboardInterrupt
        self._has_arrived = True

    @contextmanager
    def postponed(self) -> Iterator[None]:
        """Raise an interrupt that arrives during the block at its end.

        Raises:
            KeyboardInterrupt: One has arrived.
        """
        self._is_postponed = True
        try:
            yield
        finally:
            self._is_postponed = False
        if self._has_arrived:
            self._has_arrived = False
            raise KeyboardInterrupt


@dataclass(frozen=True, slots=True)
class Child:
    """A process that leads a process group of its own.

    Attributes:
        name: Its name for people.
        process: The process.
        log: The file of its errors; None if it writes to the terminal.
        grace: Seconds that it has to stop, before it is killed.
        interrupts: What raises the interrupts of the program.
    """

    name: str
    process: subprocess.Popen[bytes]
    log: Path | None
    grace: float
    interrupts: Interrupts

    @property
    def alive(self) -> bool:
        """Whether it is running."""
        with self.interrupts.postponed():
            return self.process.poll() is None

    def stop(self) -> None:
        """Terminate it, wait for at most ``grace`` seconds, and kill the rest of its group."""
        if self.alive:
            with self.interrupts.postponed():
                self.process.terminate()
            end = time.monotonic() + self.grace
            while self.alive and time.monotonic() < end:
                time.sleep(POLL_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Kill its group."""
        with self.interrupts.postponed():
            # For a group of zombies, macOS answers "not permitted".
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def ended_error(self) -> ChildEndedError:
        """Return the error that says how it ended and quotes the end of its log."""
        status = self.process.returncode
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        quoted = ""
        if self.log is not None and self.log.exists():
            lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
            quoted = f" Its log, {self.log}, ends with:\n" + "\n".join(lines or ["(empty)"])
        return ChildEndedError(f'"{self.name}" {how}.{quoted}')


class ProcessGroup:
    """The processes that one program starts.

    Attributes:
        folder: Their working directory.
        logs: Folder of their logs.
        env: Their environment. Additions apply to processes that are started later.
        interrupts: What raises the interrupts of the program.
    """

    def __init__(self, folder: Path, logs: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.logs = logs
        self.env = dict(env)
        self.interrupts = Interrupts()
        self._children: list[Child] = []

    def start(self, name: str, command: Sequence[str], *, grace: float = 5) -> Path:
        """Start a process that should run until the group is closed, and return its log.

        Args:
            name: Its name for people, and the name of its log.
            command: The command with its arguments.
            grace: Seconds that it has to stop, before it is killed.
        """
        log = self.logs / f"{name}.log"
        with log.open("wb") as sink:
            process = self._popen(command, sink.fileno(), subprocess.STDOUT)
        self._children.append(Child(name, process, log, grace, self.interrupts))
        return log

    def run(self, command: Sequence[str]) -> int:
        """Run a command on the terminal to its end, and return its exit status.

        Raises:
            ChildEndedError: Another process of the group ended meanwhile.
        """
        process = self._popen(command, None, None)
        return self._wait_for_exit(
            Child(command[0], process, None, COMMAND_GRACE_SECONDS, self.interrupts)
        )

    def capture(self, name: str, command: Sequence[str]) -> str:
        """Run a command to its end, and return what it printed.

        Raises:
            ChildEndedError: It failed, or another process of the group ended meanwhile.
        """
        output, log = self.logs / f"{name}.out", self.logs / f"{name}.log"
        with output.open("wb") as out, log.open("wb") as err:
            process = self._popen(command, out.fileno(), err.fileno())
        child = Child(name, process, log, COMMAND_GRACE_SECONDS, self.interrupts)
        if self._wait_for_exit(child):
            raise child.ended_error()
        return output.read_text(encoding="utf-8")

    def wait_until(self, condition: Callable[[], object], what: str, limit: float = 60) -> None:
        """Wait for a condition for at most ``limit`` seconds, while the processes are watched.

        Raises:
            ChildEndedError: A process ended.
            NotReadyError: The limit has passed.
        """
        end = time.monotonic() + limit
        while not condition():
            self.check()
            if time.monotonic() > end:
                raise NotReadyError(f"Waited {limit:.0f} s for {what}.")
            time.sleep(POLL_SECONDS)

    def check(self) -> None:
        """Check that all processes are running.

        Raises:
            ChildEndedError: One is not.
        """
        for child in self._children:
            if not child.alive:
                raise child.ended_error()

    def close(self) -> None:
        """Stop all processes, the last one first. A second interrupt kills them immediately."""
        try:
            for child in reversed(self._children):
                child.stop()
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        finally:
            for child in self._children:
                child.kill()

    def _wait_for_exit(self, child: Child) -> int:
        try:
            while child.alive:
                self.check()
                time.sleep(POLL_SECONDS)
            return child.process.returncode
        finally:
            child.stop()

    def _popen(
        self, command: Sequence[str], out: int | None, err: int | None
    ) -> subprocess.Popen[bytes]:
        # In a session of its own, a child gets no Ctrl-C of the terminal: the group stops it.
        return subprocess.Popen(  # noqa: S603 - the commands are our own
            with_parent_death_watchdog(command),
            env=self.env,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )


@contextmanager
def process_group(folder: Path, logs: Path, env: Mapping[str, str]) -> Iterator[ProcessGroup]:
    """Yield a process group that is closed at the end of the block.

    SIGTERM, and SIGHUP unless it is ignored, raise KeyboardInterrupt as SIGINT does.
    """
    group = ProcessGroup(folder, logs, env)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, group.interrupts.handle)
    try:
        yield group
    finally:
        group.close()
