"""The leases that this process holds on jobs.

A step owns its job while its lease lasts, and heartbeats extend all leases in one round trip. Each
step has a deadline, after which its lease is no longer extended, so that another worker gets the
job of a step that hangs.
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
    """The ownership of one job by one step. Deadlines are in seconds of the monotonic clock."""

    job_id: str
    fence: str
    deadline: float
    hard_deadline: float
    lost: bool = False
    is_ending: bool = False
    """Whether the step is committing. A commit gives up the lease, which is then not lost."""
    abort: Callable[[], None] | None = field(default=None, repr=False)
    """Called once when the deadline has passed, to end a call that blocks."""

    def extend_deadline(self, idle_limit: float) -> None:
        """Move the deadline after progress, up to the hard deadline."""
        self.deadline = min(time.monotonic() + idle_limit, self.hard_deadline)


class Leases:
    """All leases of this process."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._held: set[Lease] = set()
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, job_id: str, fence: str, limit: float) -> Iterator[Lease]:
        """Hold the lease of a claimed job during a step, for at most ``limit`` seconds."""
        lease = self.take(job_id, fence, limit)
        try:
            yield lease
        finally:
            self.drop(lease)

    def take(self, job_id: str, fence: str, limit: float) -> Lease:
        """Hold a lease as `hold` does, until it is dropped."""
        deadline = time.monotonic() + limit
        lease = Lease(job_id, fence, deadline, deadline)
        with self._lock:
            self._held.add(lease)
        return lease

    def drop(self, lease: Lease) -> None:
        """Stop holding a lease. The job stays claimed until its step is committed."""
        with self._lock:
            self._held.discard(lease)

    def heartbeat(self) -> None:
        """Extend the leases of all steps that are within their deadlines.

        If Redis does not answer, they are extended by the next heartbeat.
        """
        held = self._active()
        for lease in held:
            if lease.deadline <= time.monotonic():
                self._give_up(lease)
        alive = [lease for lease in held if not lease.lost]
        try:
            kept = self._ledger.heartbeat((lease.job_id, lease.fence) for lease in alive)
        except RedisError as error:
            log.warning("leases could not be extended", error=str(error), held=len(alive))
            return
        for lease, is_kept in zip(alive, kept, strict=True):
            if not is_kept and lease in self._held and not lease.is_ending:
                lease.lost = True
                log.warning("lease lost", job_id=lease.job_id, fence=lease.fence)

    def max_remaining_seconds(self) -> float:
        """Return the seconds until the last running step is given up: a drain takes no longer."""
        deadlines = [lease.hard_deadline for lease in self._active()]
        return max(0.0, max(deadlines, default=0.0) - time.monotonic())

    def count_streams(self) -> int:
        """Count the steps that read the stream of a paid message."""
        with self._lock:
            return sum(lease.abort is not None for lease in self._held)

    def __len__(self) -> int:
        """Count the running steps."""
        return len(self._held)

    def _active(self) -> list[Lease]:
        with self._lock:
            return [lease for lease in self._held if not lease.lost]

    def _give_up(self, lease: Lease) -> None:
        log.warning("step exceeded its deadline", job_id=lease.job_id, fence=lease.fence)
        lease.lost = True
        if lease.abort is not None:
            lease.abort()
