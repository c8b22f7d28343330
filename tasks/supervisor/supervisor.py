"""Runs several processes until a signal stops them."""

import select
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import structlog

from tasks.supervisor.process import SupervisedProcess, describe_end

log = structlog.get_logger(__name__)

BAD_USAGE: Final = 2
"""The exit status of a worker whose options or settings are wrong: a restart would not help."""
FORWARDED: Final = {
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGINT: signal.SIGINT,
    signal.SIGQUIT: signal.SIGQUIT,
    signal.SIGHUP: signal.SIGTERM,
}
"""The signal that each process gets for a signal. A second SIGINT ends Celery immediately."""
CLEAN_ENDS: Final = (0, -signal.SIGTERM, -signal.SIGINT)
"""Exit statuses of stopped processes. One that is still starting is ended by the signal itself."""


class Supervisor:
    """Starts processes, restarts each that ends, and stops them all at a signal."""

    def __init__(self, processes: Sequence[SupervisedProcess]) -> None:
        self._processes = processes
        self._stops = False
        self._status = 0

    def run(self) -> int:
        """Run until all processes have ended, and return the exit status."""
        with _signals() as wakeups:
            while not self._stops or any(process.runs for process in self._processes):
                self._start_due()
                for number in _wait(wakeups, self._seconds_to_next_start()):
                    if number in FORWARDED:
                        self._stop(FORWARDED[signal.Signals(number)])
                self._note_ends()
        return self._status

    def _start_due(self) -> None:
        for process in self._processes:
            if self._stops or process.due is None or process.due > time.monotonic():
                continue
            try:
                pid = process.start()
            except OSError as error:
                # There may be a shortage, for example of memory. The supervisor must not end by it,
                # because the other processes would be killed.
                why, wait = str(error), process.schedule()
                log.warning("process not started", process=process.name, error=why, starts_in=wait)
            else:
                log.info("process started", process=process.name, pid=pid)

    def _seconds_to_next_start(self) -> float | None:
        if self._stops:
            return None
        due = [process.due for process in self._processes if process.due is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _stop(self, number: int) -> None:
        self._stops = True
        running = [process for process in self._processes if process.runs]
        log.info("stopping processes", signal=signal.Signals(number).name, running=len(running))
        for process in running:
            process.send(number)

    def _note_ends(self) -> None:
        for process in self._processes:
            status = process.ended()
            if status is None:
                continue
            how = describe_end(status)
            if self._stops:
                self._status = self._status or (0 if status in CLEAN_ENDS else 1)
                log.info("process ended", process=process.name, how=how)
            elif status == BAD_USAGE:
                log.error("process cannot run; stopping all", process=process.name, how=how)
                self._status = BAD_USAGE
                self._stop(signal.SIGTERM)
            else:
                wait = process.schedule()
                log.warning("process ended", process=process.name, how=how, starts_in=wait)


@contextmanager
def _signals() -> Iterator[socket.socket]:
    """Yield a socket from which the numbers of received signals are read."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # under nohup
    numbers = [*FORWARDED, signal.SIGCHLD]
    before = {}
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in numbers:
            if number != signal.SIGHUP or not ignored:
                before[number] = signal.signal(number, lambda *_: None)
        try:
            yield reader
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(fd)


def _wait(wakeups: socket.socket, seconds: float | None) -> bytes:
    """Wait for a signal, at most some seconds, and return the numbers of those received."""
    select.select([wakeups], [], [], seconds)
    with suppress(BlockingIOError):
        return wakeups.recv(4096)
    return b""
