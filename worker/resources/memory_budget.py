"""Memory for decoding pictures: a share of it is taken before, and given back behind.

A picture takes a hundred times the memory of its file. A thousand jobs that prepare theirs at
once must not take it all at once.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


class MemoryUnavailableError(Exception):
    """There was no memory within the time: others have taken it all."""


@dataclass(slots=True, eq=False)
class _Wish:
    size: int
    granted: threading.Event = field(default_factory=threading.Event)


class MemoryBudget:
    """So many bytes, given out first come, first served, so that nobody waits for ever.

    Under gevent, take it in a greenlet, not in `worker.resources.offload`: who waits there holds a
    thread.

    Args:
        size: What there is.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = size
        self._waiting: deque[_Wish] = deque()
        self._lock = threading.Lock()

    @contextmanager
    def reserve(self, size: int, seconds: float) -> Iterator[None]:
        """Hold a share for as long as the block takes.

        Args:
            size: Bytes; who asks for more than there is gets all of it.
            seconds: The longest that it is waited for.

        Raises:
            MemoryUnavailableError: It was not free in time.
        """
        if not size:
            # Music and films are not decoded: they need not stand behind pictures.
            yield
            return
        wish = _Wish(min(size, self._size))
        with self._lock:
            self._waiting.append(wish)
            self._grant()
        try:
            if not wish.granted.wait(seconds):
                raise MemoryUnavailableError
            yield
        finally:
            with self._lock:
                # What was granted at the very end of the waiting is given back too.
                if wish.granted.is_set():
                    self._free += wish.size
                else:
                    self._waiting.remove(wish)
                self._grant()

    def _grant(self) -> None:
        while self._waiting and self._waiting[0].size <= self._free:
            wish = self._waiting.popleft()
            self._free -= wish.size
            wish.granted.set()
