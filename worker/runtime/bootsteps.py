"""The Celery boot step of the periodic work that a worker process does besides its tasks."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import structlog
from celery import bootsteps
from redis.exceptions import RedisError

from worker.journal.stores import JournalFailed
from worker.resources.scratch import sweep_scratch_folders
from worker.runtime.checks.journal_monitor import JournalMonitor
from worker.runtime.checks.store_ids import ANNOUNCE_SECONDS, announce_stores
from worker.runtime.checks.store_monitor import CHECK_SECONDS, StoreMonitor
from worker.runtime.heartbeat import Heartbeat
from worker.runtime.leader_lease import LeaderLease
from worker.runtime.periodic_thread import PeriodicThread
from worker.runtime.retention import (
    DAY_SECONDS,
    cutoff_ms,
    forget_payments,
    prune,
    sweep_partial_files,
)
from worker.runtime.runtime import Runtime, get_runtime
from worker.runtime.ticker import Ticker
from worker.runtime.watch import Watch
from worker.runtime.worker_registry import registered_name

log = structlog.get_logger(__name__)

MAX_PRUNE_INTERVAL: Final = 600.0
MAX_BALANCE_INTERVAL: Final = 1.0
IDLE_BALANCE_SHARE: Final = 1 / 12
"""While no balance is needed, the interval of the checks whether one is, as a share of the interval
at which balances are read."""
MAX_IDLE_BALANCE_INTERVAL: Final = 5.0
"""The longest of these intervals, in seconds, as jobs held for an account wait for these checks."""
MAX_RECOVERY_INTERVAL: Final = 1.0


class PeriodicWorkStep(bootsteps.StartStopStep):
    """Runs the heartbeat, the checks, the ticker, the balance monitor and the retention."""

    requires = ("celery.worker.components:Pool",)

    _step_threads: tuple[PeriodicThread, ...]
    """The threads that the running steps need until they end."""
    _other_threads: tuple[PeriodicThread, ...]
    _lease: LeaderLease

    def start(self, parent: Any) -> None:  # noqa: ANN401 - Celery's worker
        """Start the threads."""
        runtime = get_runtime()
        timing, retention = runtime.settings.timing, runtime.settings.retention
        name = registered_name(parent.hostname, runtime.owner)
        heartbeat = Heartbeat(runtime, name, int(parent.concurrency))
        journal = JournalMonitor(runtime)
        lease = self._lease = LeaderLease(runtime)
        watch = Watch(runtime, lease, Ticker(parent.app, runtime).tick)
        stores = StoreMonitor(runtime)

        def resume_held_for_stores() -> None:
            if lease.leads():
                stores.run_once()

        def apply_retention() -> None:
            # No step takes a day: no process uses an older folder.
            sweep_scratch_folders(DAY_SECONDS)
            if lease.leads():
                _delete_old_records(runtime)

        balance_interval = min(MAX_BALANCE_INTERVAL, timing.balance_seconds)
        recovery_interval = min(MAX_RECOVERY_INTERVAL, heartbeat.interval)
        prune_interval = min(MAX_PRUNE_INTERVAL, retention.result_days * DAY_SECONDS / 10)
        self._step_threads = (
            PeriodicThread("heartbeat", heartbeat.interval, heartbeat.run_once),
            PeriodicThread("journal", heartbeat.interval, journal.run_once),
        )
        self._other_threads = (
            PeriodicThread("stores", ANNOUNCE_SECONDS, lambda: announce_stores(runtime, name)),
            PeriodicThread("held for stores", CHECK_SECONDS, resume_held_for_stores),
            PeriodicThread("ticker", timing.tick_seconds, watch.run_once),
            PeriodicThread("recovery", recovery_interval, lambda: journal.recover(lease)),
            PeriodicThread("balances", balance_interval, _balance_reading(runtime, lease)),
            PeriodicThread("retention", prune_interval, apply_retention),
        )
        for thread in (*self._step_threads, *self._other_threads):
            thread.start()

    def stop(self, parent: Any) -> None:  # noqa: ARG002, ANN401 - Celery's signature
        """Stop all threads except those that the running steps need."""
        for thread in self._other_threads:
            thread.stop()
        with suppress(RedisError):
            self._lease.release()

    def terminate(self, parent: Any) -> None:  # noqa: ARG002, ANN401 - Celery's signature
        """Stop all threads."""
        for thread in (*self._step_threads, *self._other_threads):
            thread.stop()


def _balance_reading(runtime: Runtime, lease: LeaderLease) -> Callable[[], None]:
    """Return the function that reads balances on the leader, less often while none is needed."""
    balance_seconds = runtime.settings.timing.balance_seconds
    idle_interval = min(MAX_IDLE_BALANCE_INTERVAL, balance_seconds * IDLE_BALANCE_SHARE)
    idle_until = float("-inf")

    def read_balances() -> None:
        nonlocal idle_until
        if time.monotonic() < idle_until or not lease.leads():
            return
        if not runtime.balance_monitor.run_once():
            idle_until = time.monotonic() + idle_interval

    return read_balances


def _delete_old_records(runtime: Runtime) -> None:
    retention = runtime.settings.retention
    pruned = prune(
        runtime.ledger,
        cutoff_ms(runtime.ledger, retention.result_days),
        tombstone_days=retention.tombstone_days,
        may_continue=lambda: not runtime.status.draining,
    )
    if pruned.jobs or pruned.batches:
        log.info("old records pruned", jobs=pruned.jobs, batches=pruned.batches)
    with suppress(JournalFailed):  # its monitor reports it
        forget_payments(runtime.ledger, runtime.journal, runtime.ledger.now_ms())
    sweep_partial_files(runtime.media, runtime.output)
