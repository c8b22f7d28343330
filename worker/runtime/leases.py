"""The leases that this process holds, and the pulse that keeps them.

A step owns its job for one lease; the pulse pushes all leases on in one round trip. A beat is
not progress: each step has a deadline, and past it the pulse lets go, so that a step that hangs
loses its job to somebody else.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog
from redis.exceptions import RedisError

from worker.ledger.ledger import Ledger

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Lease:
    """The ownership of one job by one step. Times are of the monotonic clock, in seconds."""

    job_id: str
    fence: int
    deadline: float
    hard_deadline: float
    lost: bool = False
    is_ending: bool = False
    """Its own commit is under way, or done: that the record has no owner is no loss then."""
    abort: Callable[[], None] | None = field(default=None, repr=False)
    """Called once when the deadline is over, to end a call that blocks."""

    def progress(self, idle_limit: float) -> None:
        """Something was heard: the deadline moves on, never past the hard one."""
        self.deadline = min(time.monotonic() + idle_limit, self.hard_deadline)


class Leases:
    """All leases of this process."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._held: set[Lease] = set()
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, job_id: str, fence: int, limit: float) -> Iterator[Lease]:
        """Keep a claimed job for the length of a step, at most ``limit`` seconds."""
        deadline = time.monotonic() + limit
        lease = Lease(job_id, fence, deadline, deadline)
        with self._lock:
            self._held.add(lease)
        try:
            yield lease
        finally:
            with self._lock:
                self._held.discard(lease)

    def heartbeat(self) -> None:
        """Push on every lease whose step is within its deadline. Redis down: tried next time."""
        with self._lock:
            held = [lease for lease in self._held if not lease.lost]
        alive = [lease for lease in held if lease.deadline > time.monotonic()]
        for lease in held:
            if lease not in alive:
                self._let_go(lease)
        try:
            kept = self._ledger.heartbeat((lease.job_id, lease.fence) for lease in alive)
        except RedisError as error:
            log.warning("leases could not be pushed on", error=str(error), held=len(alive))
            return
        for lease, is_kept in zip(alive, kept, strict=True):
            if not is_kept and lease in self._held and not lease.is_ending:
                lease.lost = True
                log.warning("lease lost", job_id=lease.job_id, fence=lease.fence)

    def longest(self) -> float:
        """Seconds until the last of the steps under way is given up: the longest a drain takes."""
        with self._lock:
            ends = [lease.hard_deadline for lease in self._held if not lease.lost]
        return max(0.0, max(ends, default=0.0) - time.monotonic())

    def streams(self) -> int:
        """Steps that follow a paid stream: the only ones with a call to end."""
        with self._lock:
            return sum(lease.abort is not None for lease in self._held)

    def __len__(self) -> int:
        """Steps under way."""
        return len(self._held)

    def _let_go(self, lease: Lease) -> None:
        log.warning("step is past its deadline", job_id=lease.job_id, fence=lease.fence)
        lease.lost = True
        if lease.abort is not None:
            lease.abort()
