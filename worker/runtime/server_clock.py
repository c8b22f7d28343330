"""Keeps the clock of the records steady when the clock of the Redis server is set.

All times in the records, such as the ends of leases, are of one clock: the server's time plus an
offset that the ledger holds. When the server's time jumps, as measured by a monotonic clock of this
process, the offset is changed to compensate. Otherwise a jump of an hour would end all leases
immediately, or make the jobs of a dead worker wait for an hour.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from worker.journal.boot_clock import boot_seconds
from worker.ledger.reader import Reader

STEP_MS: Final = 2000
"""A smaller jump is not corrected, as leases tolerate it."""
MAX_READING_SECONDS: Final = 0.5
"""A slower reading is ignored, because the time at which the server made it is too uncertain."""
SLEW: Final = 0.05
"""How fast the offset shrinks again: the clock of the records runs faster or slower by this share
until it agrees with the server's."""
SLEW_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class ClockReading:
    """A reading of the server's clock.

    Attributes:
        at: When it was made, in seconds of this process's own clock.
        time: The server's time, in ms.
        offset: The offset of the records' clock, in ms.
        last_tick: The newest time at which a ticker ran, in ms of the records' clock; 0 for none.
    """

    at: float
    time: int
    offset: int
    last_tick: int


def corrected_offset(before: ClockReading | None, now: ClockReading) -> int | None:
    """Return the offset that keeps the records' clock steady; None to keep the present one.

    Args:
        before: The reading before, or None.
        now: The present reading.
    """
    if before is not None:
        jump = now.time - before.time - int((now.at - before.at) * 1000)
        is_corrected = abs(now.offset - before.offset) > STEP_MS
        if abs(jump) > STEP_MS and not is_corrected:
            return now.offset - jump
    # The clock was set back while no worker was running.
    if now.last_tick - (now.time + now.offset) > STEP_MS:
        return now.last_tick - now.time
    return None


def shrunk_offset(offset: int, seconds: float) -> int:
    """Return an offset that has shrunk for some seconds."""
    by = min(abs(offset), int(seconds * 1000 * SLEW))
    return offset - by if offset > 0 else offset + by


class ServerClock:
    """Watches the clock of the ledger's server from one process.

    Args:
        ledger: The ledger.
        own_clock: Returns the seconds of a monotonic clock.
    """

    def __init__(self, ledger: Reader, own_clock: Callable[[], float] = boot_seconds) -> None:
        self._scripts = ledger.scripts
        self._own_clock = own_clock
        self._last: ClockReading | None = None
        self.steady_at = 0
        """The time of the last reading, in ms of the clock of the records; 0 if it was too slow, or
        needed a correction."""
        self._shrunk_at = own_clock()

    def check(self, read: Callable[[], tuple[int, int, int]]) -> int:
        """Read the clock, and correct the offset after a jump. Call it at short intervals.

        Args:
            read: Reads the server's time, the offset, and the last tick, in ms.

        Returns:
            The correction of the records' clock in ms; 0 for none.

        Raises:
            RedisError: The server does not answer.
        """
        start, self.steady_at = self._own_clock(), 0
        time, offset, last_tick = read()
        end = self._own_clock()
        if end - start > MAX_READING_SECONDS:
            return 0
        now = ClockReading((start + end) / 2, time, offset, last_tick)
        wanted = corrected_offset(self._last, now)
        self._last = now
        if wanted is not None:
            return wanted - offset if self._set(offset, wanted) else 0
        if offset and end - self._shrunk_at >= SLEW_SECONDS:
            self._set(offset, shrunk_offset(offset, min(end - self._shrunk_at, 2 * SLEW_SECONDS)))
        if not offset or end - self._shrunk_at >= SLEW_SECONDS:
            self._shrunk_at = end
        self.steady_at = time + offset
        return 0

    def _set(self, offset: int, wanted: int) -> bool:
        """Change the offset, unless another worker has."""
        return bool(self._scripts.run("set_clock", offset, wanted) == "OK")
