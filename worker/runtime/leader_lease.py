"""The lease by which one worker at a time dispatches jobs and does the work for all workers."""

from typing import Final

from worker.ledger.conditional_delete import delete_if_equal
from worker.runtime.runtime import Runtime

MAX_LEASE_SECONDS: Final = 5.0
"""Maximum time without a leader after a leader died, unless ticks are farther apart."""
JOB_LEASE_SHARE: Final = 1 / 6
"""Maximum share of a job's lease, so that a dead leader's own jobs are dispatched again soon."""
MAX_LEASES: Final = 10
"""A leader lease that ends later than after this many lease times is cut to one: the clock of the
server was set back after it was taken."""
MIN_LEASE_TICKS: Final = 3
"""Minimum number of ticks that the lease outlasts."""


class LeaderLease:
    """The leader lease as one worker sees it."""

    def __init__(self, runtime: Runtime) -> None:
        self._redis = runtime.ledger.redis
        self._scripts = runtime.ledger.scripts
        self._key = runtime.ledger.key("ticker")
        self._owner = runtime.owner
        self._status = runtime.status
        timing = runtime.settings.timing
        self.seconds = max(
            MIN_LEASE_TICKS * timing.tick_seconds,
            min(MAX_LEASE_SECONDS, JOB_LEASE_SHARE * timing.lease_seconds),
        )
        self._lease_ms = int(self.seconds * 1000)

    def acquire(self) -> bool:
        """Take or extend the lease, and return whether this worker leads.

        A worker that drains does not lead.
        """
        if self._status.draining:
            return False
        # In one script: another worker may take the lease between two commands.
        longest = self._lease_ms * MAX_LEASES
        return bool(self._scripts.run("lead", self._owner, self._lease_ms, longest))

    def release(self) -> None:
        """Give the lease up if this worker holds it, so that another one leads immediately."""
        delete_if_equal(self._redis, self._key, self._owner)
