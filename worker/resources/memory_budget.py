"""A memory budget for decoding images: memory is reserved before, and released afterwards.

Decoding an image takes a hundred times the memory of its file, so the jobs of a process must not
all decode at the same time.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


class MemoryUnavailableError(Exception):
    """No memory became free in time."""


@dataclass(slots=True, eq=False)
class _Reservation:
    size: int
    granted: threading.Event = field(default_factory=threading.Event)


class MemoryBudget:
    """A number of bytes, reserved first come, first served, so that no caller waits forever.

    Under gevent, reserve in a greenlet, not in `worker.resources.offload`: waiting there blocks a
    thread.

    Args:
        size: The bytes of the budget.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = size
        self._waiting: deque[_Reservation] = deque()
        self._lock = threading.Lock()

    @contextmanager
    def reserve(self, size: int, seconds: float) -> Iterator[None]:
        """Reserve memory for the duration of the block.

        Args:
            size: Bytes; more than the budget reserves all of it.
            seconds: How long to wait for them.

        Raises:
            MemoryUnavailableError: The memory was not free in time.
        """
        if not size:
            # Files that are not decoded, such as music, do not wait behind images.
            yield
            return
        reservation = _Reservation(min(size, self._size))
        with self._lock:
            self._waiting.append(reservation)
            self._grant()
        try:
            if not reservation.granted.wait(seconds):
                raise MemoryUnavailableError
            yield
        finally:
            with self._lock:
                # A reservation that was granted just after the wait timed out is released too.
                if reservation.granted.is_set():
                    self._free += reservation.size
                else:
                    self._waiting.remove(reservation)
                self._grant()

    def _grant(self) -> None:
        while self._waiting and self._waiting[0].size <= self._free:
            reservation = self._waiting.popleft()
            self._free -= reservation.size
            reservation.granted.set()
