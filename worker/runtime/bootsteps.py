"""What a worker process does besides its tasks: the ticker and the heartbeat.

Both are threads, which under gevent are greenlets. They wait on events, so that a stop ends
them at once.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import structlog
from celery import bootsteps
from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as NoAnswer

from worker.resources.scratch import sweep_scratch_folders
from worker.runtime.durability import describe, reasons_not_to_pay
from worker.runtime.retention import cutoff_ms, prune, sweep
from worker.runtime.runtime import Runtime, get_runtime
from worker.runtime.ticker import Ticker
from worker.runtime.worker_registry import register_worker, unregister_worker

log = structlog.get_logger(__name__)

DAY_SECONDS: Final = 86_400
FORGETS_EVERY: Final = 600.0
"""The most seconds between two rounds of pruning; a tenth of what records are kept, if that is
less."""
_AWAY: Final = "it does not answer"


class PeriodicThread:
    """Calls a function again and again, with a pause between, until it is stopped."""

    def __init__(self, name: str, pause: float, work: Callable[[], object]) -> None:
        self._name = name
        self._pause = pause
        self._work = work
        self._stop = threading.Event()
        self._trouble = ""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin at once."""
        self._thread.start()

    def stop(self) -> None:
        """End after the present round."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._work()
            except (NoConnection, NoAnswer, OperationalError) as error:
                # The agenda is the retry. An outage is told once, not twice a second.
                if self._trouble != _AWAY:
                    log.warning("Redis does not answer", thread=self._name, error=str(error))
                self._trouble = _AWAY
            except RedisError as error:
                # It answers, and refuses: no memory, a full disk, or a script of ours at fault.
                # That may never end by itself: it is told as a fault, once for each text.
                if self._trouble != str(error):
                    log.exception("Redis refuses a round", thread=self._name)
                self._trouble = str(error)
            except Exception:
                # A round that fails must not end the worker's pulse; the next one tries again.
                log.exception("a round failed", thread=self._name)
            else:
                if self._trouble:
                    log.info("Redis answers again", thread=self._name)
                self._trouble = ""
            self._stop.wait(self._pause)


class Heartbeat:
    """Keeps this worker's leases, announces it, and notices when it cannot keep up."""

    def __init__(self, runtime: Runtime, worker: str, slots: int) -> None:
        self._runtime = runtime
        self._worker = worker
        self._slots = slots
        self.pause = runtime.settings.timing.lease_seconds / 3
        self._due = time.monotonic()

    def run_once(self) -> None:
        """One round."""
        status, lease = self._runtime.status, self._runtime.settings.timing.lease_seconds
        late = time.monotonic() - self._due
        status.lagging = late > lease / 3
        if status.lagging:
            log.warning("this worker is overloaded and claims nothing now", late_seconds=late)
        self._runtime.leases.heartbeat()
        try:
            if status.draining:
                unregister_worker(self._runtime.ledger, self._worker)
            else:
                register_worker(self._runtime.ledger, self._worker, self._slots, lease)
        except RedisError as error:
            log.warning("this worker could not announce itself", error=str(error))
        self._look_at_redis()
        self._due = time.monotonic() + self.pause

    def _look_at_redis(self) -> None:
        status = self._runtime.status
        found = reasons_not_to_pay(self._runtime.ledger)
        if found != status.reasons_not_to_pay:
            log.warning("paying stops" if found else "paying goes on", why=describe(found))
        status.reasons_not_to_pay = found


class AgendaStep(bootsteps.StartStopStep):
    """Starts ticker, pulse and treasury with the worker, and stops them first."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:  # noqa: ANN401 - celery's
        """Open nothing yet: a prefork pool has not forked."""
        super().__init__(parent, **options)
        self._rounds: list[PeriodicThread] = []
        self._ticker: Ticker | None = None

    def start(self, parent: Any) -> None:  # noqa: ANN401 - celery's worker
        """Begin the rounds."""
        runtime = get_runtime()
        ticker = Ticker(parent.app, runtime)
        heartbeat = Heartbeat(runtime, parent.hostname, int(parent.concurrency))

        def read_balances() -> None:
            if not runtime.status.draining and ticker.take_lead():
                runtime.balance_monitor.run_once()

        def tick() -> None:
            if not runtime.status.draining:
                ticker.tick()

        def forget() -> None:
            # No step takes a day: nobody works any more in what is older.
            sweep_scratch_folders(DAY_SECONDS)
            if not runtime.status.draining and ticker.take_lead():
                before = cutoff_ms(runtime.ledger, runtime.settings.retention.result_days)
                gone = prune(
                    runtime.ledger,
                    before,
                    tombstone_days=runtime.settings.retention.tombstone_days,
                    may_continue=lambda: not runtime.status.draining,
                )
                if gone.jobs or gone.batches:
                    log.info("old records were pruned", jobs=gone.jobs, batches=gone.batches)
                sweep(runtime.media, runtime.output)

        settings = runtime.settings
        forgets_every = min(FORGETS_EVERY, settings.retention.result_days * DAY_SECONDS / 10)
        self._rounds = [
            PeriodicThread("heartbeat", heartbeat.pause, heartbeat.run_once),
            PeriodicThread("ticker", settings.timing.tick_seconds, tick),
            PeriodicThread("balances", min(1.0, settings.timing.balance_seconds), read_balances),
            PeriodicThread("retention", forgets_every, forget),
        ]
        for rounds in self._rounds:
            rounds.start()
        self._ticker = ticker

    def stop(self, parent: Any) -> None:  # noqa: ARG002, ANN401 - celery's signature
        """End the ticker; the pulse goes on for the steps that still run."""
        for rounds in self._rounds[1:]:
            rounds.stop()
        if self._ticker is not None:
            with suppress(RedisError):
                self._ticker.release_lead()

    def terminate(self, parent: Any) -> None:  # noqa: ARG002, ANN401 - celery's signature
        """End everything."""
        for rounds in self._rounds:
            rounds.stop()
