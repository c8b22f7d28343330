"""Child processes as one group: started, watched together, and all ended at the end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PARENT_DEATH_WATCHDOG: Final = Path(__file__).with_name("die_with_parent.py")
PAUSE: Final = 0.1
LAST_LINES: Final = 20


class ChildEndedError(RuntimeError):
    """A process that should go on has ended. The text names it and ends with its last lines."""


class NotReadyError(RuntimeError):
    """Something did not come up in time."""


@dataclass(frozen=True, slots=True)
class Child:
    """One process, the leader of a group of its own.

    Attributes:
        name: What people call it.
        process: The process.
        log: Where its errors go; None when it writes to the terminal.
        grace: Seconds that it may take to end when it is asked to.
    """

    name: str
    process: subprocess.Popen[bytes]
    log: Path | None
    grace: float

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def end(self) -> None:
        """Ask it to end, wait for its grace, then end what is left of its group by force."""
        if self.alive:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(self.grace)
        self.kill()

    def kill(self) -> None:
        """End its whole group by force."""
        # macOS calls a group of which only the dead are left «not permitted».
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def last_lines(self) -> str:
        """The end of its log."""
        if self.log is None or not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LAST_LINES:])


class ProcessGroup:
    """The processes that one program started.

    Attributes:
        folder: Where they are started.
        logs: Folder of their logs.
        env: Their environment; what is added to it counts for those that start later.
    """

    def __init__(self, folder: Path, logs: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.logs = logs
        self.env = dict(env)
        self._children: list[Child] = []

    def start(self, name: str, command: Sequence[str], *, grace: float = 5) -> Child:
        """Start a process that is to run until the end.

        Args:
            name: What people call it, and what its log is named after.
            command: The command with its arguments.
            grace: Seconds that it may take to end when it is asked to.
        """
        log = self.logs / f"{name}.log"
        with log.open("wb") as sink:
            process = self._open(command, sink.fileno(), subprocess.STDOUT)
        child = Child(name, process, log, grace)
        self._children.append(child)
        return child

    def run(self, command: Sequence[str]) -> int:
        """Run a command on our terminal to its end, while the others are watched.

        Returns:
            Its exit status.

        Raises:
            ChildEndedError: One of the others ended meanwhile.
        """
        return self._wait_for_exit(Child(command[0], self._open(command, None, None), None, 2))

    def capture(self, name: str, command: Sequence[str]) -> str:
        """Run a command to its end and return what it printed.

        Raises:
            ChildEndedError: It failed, or one of the others ended meanwhile.
        """
        answer, log = self.logs / f"{name}.out", self.logs / f"{name}.log"
        with answer.open("wb") as out, log.open("wb") as err:
            child = Child(name, self._open(command, out.fileno(), err.fileno()), log, 2)
        if self._wait_for_exit(child):
            raise ChildEndedError(_exit_report(child))
        return answer.read_text()

    def wait_until(self, condition: Callable[[], object], what: str, limit: float = 60) -> None:
        """Wait for a condition while the processes are watched.

        Raises:
            ChildEndedError: A process has ended.
            NotReadyError: The limit (seconds) is over.
        """
        end = time.monotonic() + limit
        while not condition():
            self.check()
            if time.monotonic() > end:
                raise NotReadyError(f"Waited {limit:.0f} s for {what}.")
            time.sleep(PAUSE)

    def check(self) -> None:
        """See that all processes run.

        Raises:
            ChildEndedError: One does not.
        """
        for child in self._children:
            if not child.alive:
                raise ChildEndedError(_exit_report(child))

    def close(self) -> None:
        """End all processes, the last one first; a second interrupt ends them at once."""
        try:
            for child in reversed(self._children):
                child.end()
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        finally:
            for child in self._children:
                child.kill()

    def _wait_for_exit(self, child: Child) -> int:
        try:
            while child.alive:
                self.check()
                time.sleep(PAUSE)
            return child.process.returncode
        finally:
            child.end()

    def _open(
        self, command: Sequence[str], out: int | None, err: int | None
    ) -> subprocess.Popen[bytes]:
        # A session of its own: the terminal's Ctrl-C is ours, and we end them in order.
        return subprocess.Popen(  # noqa: S603 - the commands are our own
            [sys.executable, "-I", str(PARENT_DEATH_WATCHDOG), str(os.getpid()), *command],
            env=self.env,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )


@contextmanager
def process_group(folder: Path, logs: Path, env: Mapping[str, str]) -> Iterator[ProcessGroup]:
    """A process group that ends with the block, however the block ends.

    SIGTERM, and SIGHUP where it is not ignored, are taken as an interrupt: KeyboardInterrupt.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    group = ProcessGroup(folder, logs, env)
    try:
        yield group
    finally:
        group.close()


def _exit_report(child: Child) -> str:
    status = child.process.returncode
    how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
    lines = child.last_lines() or "(it wrote nothing)"
    where = f" Its log, {child.log}, ends with:\n{lines}" if child.log else ""
    return f"«{child.name}» {how}.{where}"
