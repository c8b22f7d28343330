"""What a worker process does besides its tasks: the ticker and the pulse.

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

from worker.resources.scratch import sweep_scratch
from worker.runtime.durability import against_paying, sentence
from worker.runtime.retention import moment_before, prune, sweep
from worker.runtime.runtime import Runtime, get_runtime
from worker.runtime.ticker import Ticker
from worker.runtime.worker_registry import announce, leave

log = structlog.get_logger(__name__)

DAY_SECONDS: Final = 86_400
FORGETS_EVERY: Final = 600.0
"""The most seconds between two rounds of pruning; a tenth of what records are kept, if that is
less."""
_AWAY: Final = "it does not answer"


class Rounds:
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
                    log.warning("Redis does not answer", rounds=self._name, error=str(error))
                self._trouble = _AWAY
            except RedisError as error:
                # It answers, and refuses: no memory, a full disk, or a script of ours at fault.
                # That may never end by itself: it is told as a fault, once for each text.
                if self._trouble != str(error):
                    log.exception("Redis refuses a round", rounds=self._name)
                self._trouble = str(error)
            except Exception:
                # A round that fails must not end the worker's pulse; the next one tries again.
                log.exception("a round failed", rounds=self._name)
            else:
                if self._trouble:
                    log.info("Redis answers again", rounds=self._name)
                self._trouble = ""
            self._stop.wait(self._pause)


class Pulse:
    """Keeps this worker's leases, announces it, and notices when it cannot keep up."""

    def __init__(self, runtime: Runtime, worker: str, slots: int) -> None:
        self._runtime = runtime
        self._worker = worker
        self._slots = slots
        self.pause = runtime.settings.lease_seconds / 3
        self._due = time.monotonic()

    def beat(self) -> None:
        """One round."""
        duty, lease = self._runtime.duty, self._runtime.settings.lease_seconds
        late = time.monotonic() - self._due
        duty.lagging = late > lease / 3
        if duty.lagging:
            log.warning("this worker is overloaded and claims nothing now", late_seconds=late)
        self._runtime.leases.beat()
        try:
            if duty.draining:
                leave(self._runtime.ledger, self._worker)
            else:
                announce(self._runtime.ledger, self._worker, self._slots, lease)
        except RedisError as error:
            log.warning("this worker could not announce itself", error=str(error))
        self._look_at_redis()
        self._due = time.monotonic() + self.pause

    def _look_at_redis(self) -> None:
        duty = self._runtime.duty
        found = against_paying(self._runtime.ledger)
        if found != duty.against_paying:
            log.warning("paying stops" if found else "paying goes on", why=sentence(found))
        duty.against_paying = found


class AgendaStep(bootsteps.StartStopStep):
    """Starts ticker, pulse and treasury with the worker, and stops them first."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:  # noqa: ANN401 - celery's
        """Open nothing yet: a prefork pool has not forked."""
        super().__init__(parent, **options)
        self._rounds: list[Rounds] = []
        self._ticker: Ticker | None = None

    def start(self, parent: Any) -> None:  # noqa: ANN401 - celery's worker
        """Begin the rounds."""
        runtime = get_runtime()
        ticker = Ticker(parent.app, runtime)
        pulse = Pulse(runtime, parent.hostname, int(parent.concurrency))

        def treasure() -> None:
            if not runtime.duty.draining and ticker.lead():
                runtime.treasury.round()

        def tick() -> None:
            if not runtime.duty.draining:
                ticker.tick()

        def forget() -> None:
            # No step takes a day: nobody works any more in what is older.
            sweep_scratch(DAY_SECONDS)
            if not runtime.duty.draining and ticker.lead():
                before = moment_before(runtime.ledger, runtime.settings.result_days)
                gone = prune(
                    runtime.ledger,
                    before,
                    tombstone_days=runtime.settings.tombstone_days,
                    go_on=lambda: not runtime.duty.draining,
                )
                if gone.jobs or gone.batches:
                    log.info("old records were pruned", jobs=gone.jobs, batches=gone.batches)
                sweep(runtime.media, runtime.output)

        settings = runtime.settings
        forgets_every = min(FORGETS_EVERY, settings.result_days * DAY_SECONDS / 10)
        self._rounds = [
            Rounds("pulse", pulse.pause, pulse.beat),
            Rounds("ticker", settings.tick_seconds, tick),
            Rounds("treasury", min(1.0, settings.balance_seconds), treasure),
            Rounds("retention", forgets_every, forget),
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
                self._ticker.stand_down()

    def terminate(self, parent: Any) -> None:  # noqa: ARG002, ANN401 - celery's signature
        """End everything."""
        for rounds in self._rounds:
            rounds.stop()
