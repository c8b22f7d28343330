"""The tick of a worker process: one look for work, and the dispatching of the leader."""

import time
from collections.abc import Callable
from typing import Final

import structlog

from worker.runtime.leader_lease import LeaderLease, Look
from worker.runtime.runtime import Runtime
from worker.runtime.server_clock import ServerClock

log = structlog.get_logger(__name__)

MAX_TICK_GAP_MS: Final = 1000
"""The most that the last tick in the ledger is behind while a leader has nothing to do."""
GAP_SHARE: Final = 0.25
"""After a pause of more than this share of a job's lease, the ticker runs even if the look finds no
work, because the ticker notices that Redis, or a leader, was away."""


class Watch:
    """Looks for work, updates the status of this process, and runs the ticker on the leader.

    Args:
        runtime: The process.
        lease: The leader lease.
        tick: Dispatches what is due, on the leader.
    """

    def __init__(self, runtime: Runtime, lease: LeaderLease, tick: Callable[[], object]) -> None:
        self._status = runtime.status
        self._lease = lease
        self._tick = tick
        self._clock = ServerClock(runtime.ledger)
        self._lease_seconds = runtime.settings.timing.lease_seconds
        self._led_at = float("-inf")
        self._ticked_at = float("-inf")
        self._steady_at = 0
        self._stored = 0
        self._look: Look | None = None

    def run_once(self) -> None:
        """Look once, and let the ticker run if this worker leads and something is due.

        Raises:
            RedisError: The ledger cannot be reached.
            OperationalError: The broker cannot be reached.
        """
        if corrected := self._clock.check(self._read):
            log.warning("the clock of the Redis server was set", corrected_ms=corrected)
        self._steady_at = self._clock.steady_at
        look = self._look
        if look is None or not look.leads:
            self._led_at = float("-inf")
            return
        now = time.monotonic()
        was_away = now - self._led_at > GAP_SHARE * self._lease_seconds
        if look.has_work or was_away or now - self._ticked_at > self._lease_seconds:
            self._tick()
            self._ticked_at = now
        self._led_at = now

    def _read(self) -> tuple[int, int, int]:
        before, ticked = self._look, self._steady_at
        last = max(self._stored, before.last_tick if before else 0)
        if before is None or not before.leads or ticked - last < MAX_TICK_GAP_MS:
            ticked = 0
        look = self._look = self._lease.look(ticked)
        self._stored = ticked or self._stored
        status = self._status
        status.has_events, status.has_polls = look.has_events, look.has_polls
        status.has_webhooks = look.has_webhooks
        return look.time, look.offset, look.last_tick
