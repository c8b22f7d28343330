"""The heartbeat of a worker process: its leases, its registration, and its status."""

import time

import structlog
from redis.exceptions import RedisError

from worker.runtime.checks.durability import describe, reasons_not_to_pay
from worker.runtime.runtime import Runtime
from worker.runtime.worker_registry import record_node, register_worker, unregister_worker

log = structlog.get_logger(__name__)


class Heartbeat:
    """Extends this worker's leases, registers it, and updates its status."""

    def __init__(self, runtime: Runtime, worker: str, slots: int) -> None:
        self._runtime = runtime
        self._worker = worker
        self._slots = slots
        self._lease_seconds = runtime.settings.timing.lease_seconds
        self.interval = self._lease_seconds / 3
        self._due = time.monotonic()

    def run_once(self) -> None:
        """Send one heartbeat."""
        self._check_lag()
        self._runtime.leases.heartbeat()
        self._update_registration()
        self._check_durability()
        self._due = time.monotonic() + self.interval

    def _check_lag(self) -> None:
        late = time.monotonic() - self._due
        self._runtime.status.lagging = late > self._lease_seconds / 3
        if self._runtime.status.lagging:
            log.warning("worker is overloaded and claims no jobs", late_seconds=late)

    def _update_registration(self) -> None:
        ledger = self._runtime.ledger
        try:
            record_node(ledger, self._worker, self._lease_seconds)
            if self._runtime.status.draining:
                unregister_worker(ledger, self._worker)
            else:
                accounts = self._runtime.accounts.names()
                register_worker(
                    ledger,
                    self._worker,
                    self._slots,
                    self._lease_seconds,
                    accounts,
                    why_not_pay=self._runtime.status.why_not_pay,
                )
        except RedisError as error:
            log.warning("worker could not be registered", error=str(error))

    def _check_durability(self) -> None:
        status = self._runtime.status
        reasons = reasons_not_to_pay(self._runtime.ledger, self._runtime.settings.redis.durability)
        if reasons != status.redis_failures:
            log.warning(
                "payments stopped" if reasons else "payments resumed", why=describe(reasons)
            )
        status.redis_failures = reasons
