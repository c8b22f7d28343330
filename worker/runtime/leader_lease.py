"""The lease by which one worker at a time dispatches jobs and does the work for all workers."""

import time
from dataclasses import dataclass
from typing import Final

from worker.ledger.conditional_delete import delete_if_equal
from worker.runtime.runtime import Runtime

MAX_LEASE_SECONDS: Final = 5.0
"""Maximum time without a leader after a leader died, unless ticks are farther apart."""
JOB_LEASE_SHARE: Final = 1 / 6
"""Maximum share of a job's lease, so that a dead leader's own jobs are dispatched again soon."""
MAX_LEASES: Final = 10
"""A leader lease that has more than this many lease times left is shortened to one: the clock of
the server was set back after the lease was taken."""
MIN_LEASE_TICKS: Final = 3
"""Minimum number of ticks that the lease outlasts."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a process found when it looked for work.

    Attributes:
        time: The server's time, in ms.
        offset: What the clock of the records adds to it, in ms.
        last_tick: When a ticker ran last, in ms of the clock of the records; 0 for none.
        leads: Whether this process leads.
        has_work: Whether something is due for the ticker of the leader.
        has_events: Whether the leader has states of jobs to send to Flower.
        has_webhooks: Whether messages wait for receivers, due or not.
        has_polls: Whether renders wait for their next poll.
    """

    time: int
    offset: int
    last_tick: int
    leads: bool
    has_work: bool
    has_events: bool
    has_webhooks: bool
    has_polls: bool


class LeaderLease:
    """The leader lease, as used by one worker."""

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
        self._leads = False
        self._known_until = float("-inf")
        self._extended_at = float("-inf")

    def look(self, ticked: int = 0) -> Look:
        """Take or extend the lease, and look for work. A worker that drains does not lead.

        Args:
            ticked: The time to store as the last tick, at which this worker led and the clock was
                steady, in ms of the clock of the records; 0 to store none.
        """
        start = time.monotonic()
        owner = "" if self._status.draining else self._owner
        is_fresh = self._leads and start < self._extended_at + self.seconds / 4
        # In one script: another worker may take the lease between two commands.
        found = self._scripts.run(
            *("watch", owner, self._lease_ms, self._lease_ms * MAX_LEASES),
            *(int(not is_fresh), ticked or ""),
        )
        look = Look(*found[:3], *map(bool, found[3:]))
        self._leads, self._known_until = look.leads, start + self.seconds / 2
        if not is_fresh:
            self._extended_at = start
        return look

    def acquire(self) -> bool:
        """Take or extend the lease, and return whether this worker leads."""
        self._extended_at = float("-inf")
        return not self._status.draining and self.look().leads

    def leads(self) -> bool:
        """Return whether this worker leads, as found within the last half of a lease, or now."""
        if self._status.draining:
            return False
        return self._leads if time.monotonic() < self._known_until else self.acquire()

    def release(self) -> None:
        """Give the lease up if this worker holds it, so that another one leads immediately."""
        self._known_until = self._extended_at = float("-inf")
        delete_if_equal(self._redis, self._key, self._owner)
