"""The figures that a worker tells Prometheus, read at each scrape; docs/metrics.md names them.

Those of the service come from Redis and are the same whichever worker is asked; those of the
process are its own. No label has a value that a job, a batch or a caller could choose.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import structlog
from kombu.transport.redis import PRIORITY_STEPS, Channel
from prometheus_client import Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from config.celery import SUBMIT_QUEUE, wakeup_queue
from worker.ledger.model.states import HOLD_REASONS, State
from worker.ledger.reader import Reader
from worker.runtime.durability import CHECKS
from worker.runtime.repeat_filter import RepeatFilter
from worker.runtime.runtime import Runtime
from worker.telemetry.service_snapshot import (
    AccountBalance,
    Backlog,
    ServiceSnapshot,
    take_snapshot,
)

log = structlog.get_logger(__name__)

LOST: Final = "lost"
"""The outcome of a step whose job belonged to somebody else by its end."""
BROKER_UP: Final = "Whether the broker answered this scrape."
STEPS: Final = Counter(
    "reelqueue_steps",
    "Steps that this process did, by stage and by the state that followed.",
    ("stage", "outcome"),
    registry=None,
)


class Metrics(Collector):
    """All figures, as one worker knows them.

    Args:
        runtime: This process.
        records: The records, on a client that gives up soon.
        broker: The Celery queues, on such a client; its own annotations do not tell what it gives.
    """

    def __init__(self, runtime: Runtime, records: Reader, broker: Any) -> None:  # noqa: ANN401
        self._runtime = runtime
        self._records = records
        self._broker = broker
        self._redis_failures = RepeatFilter()
        self._broker_failures = RepeatFilter()

    def collect(self) -> Iterator[Metric]:
        """Look at everything now; a server that does not answer leaves its figures out."""
        try:
            snapshot = take_snapshot(self._records, self._runtime.accounts.names())
        except RedisError as error:
            self._log_outage("Redis", self._redis_failures, error)
            snapshot = None
        else:
            self._redis_failures.clear()
        yield _gauge("up", "Whether Redis answered this scrape.", snapshot is not None)
        if snapshot is not None:
            yield from _service(snapshot)
            yield from _accounts(snapshot.accounts, self._runtime.settings.limits.account_in_flight)
        yield from self._queues()
        yield from self._process()

    def _log_outage(self, server: str, failures: RepeatFilter, error: RedisError) -> None:
        if failures.is_new("outage"):
            log.warning("scrape got no answer", server=server, error=str(error))

    def _queues(self) -> Iterator[Metric]:
        """What waits in the Celery queues; the broker may be another server."""
        queues = {
            "wakeups": wakeup_queue(self._runtime.settings.redis.namespace),
            "submissions": SUBMIT_QUEUE,
        }
        try:
            with self._broker.pipeline(transaction=False) as pipe:
                for queue in queues.values():
                    for step in PRIORITY_STEPS:
                        pipe.llen(f"{queue}{Channel.sep}{step}" if step else queue)
                lengths = pipe.execute()
        except RedisError as error:
            self._log_outage("broker", self._broker_failures, error)
            yield _gauge("broker_up", BROKER_UP, False)
            return
        self._broker_failures.clear()
        steps = len(PRIORITY_STEPS)
        waiting = {
            name: sum(lengths[at * steps : (at + 1) * steps]) for at, name in enumerate(queues)
        }
        yield _gauge("broker_up", BROKER_UP, True)
        yield _gauges("queue_messages", "Messages in a Celery queue.", "queue", waiting)

    def _process(self) -> Iterator[Metric]:
        status, leases = self._runtime.status, self._runtime.leases
        wrong = {finding.check for finding in status.reasons_not_to_pay}
        obstacles = {check: check in wrong for check in CHECKS}
        yield _gauge("worker_leases", "Jobs that this process works on.", len(leases))
        yield _gauge("worker_streams", "Paid streams that it follows.", leases.count_streams())
        yield _gauge("worker_may_pay", "Whether it may send paid messages.", status.may_pay)
        yield _gauges("worker_pay_obstacle", "What speaks against paying.", "check", obstacles)
        yield _gauge(
            "worker_lagging", "Whether it is overloaded, and claims nothing.", status.lagging
        )
        yield _gauge("worker_draining", "Whether it stops, and claims nothing.", status.draining)
        for family in STEPS.collect():
            # When each series began is of no use to anybody, and doubles them.
            family.samples = [each for each in family.samples if each.name.endswith("_total")]
            yield family


def _service(snapshot: ServiceSnapshot) -> Iterator[Metric]:
    states = {state.value: snapshot.states.get(state, 0) for state in State}
    held = {reason.value: snapshot.held.get(reason, 0) for reason in sorted(HOLD_REASONS)}
    yield _gauges("jobs", "Jobs in a state; queued is the backlog.", "state", states)
    yield _gauges("held_jobs", "Jobs held for a reason.", "reason", held)
    clips = CounterMetricFamily("reelqueue_clips", "Clips that were ever delivered.")
    clips.add_metric((), snapshot.clips)
    yield clips
    yield from _backlog("agenda", "Jobs on the agenda", snapshot.agenda)
    yield from _backlog("outbox", "Ends and holds yet to be told", snapshot.outbox)
    yield _gauge("webhooks_owed", "Messages owed to receivers of webhooks.", snapshot.webhooks)
    yield _gauge("set_aside_records", "Records that cannot be read.", snapshot.set_aside)
    if snapshot.ticker_silence is not None:
        silence = snapshot.ticker_silence
        yield _gauge("ticker_silence_seconds", "Since jobs were last handed out.", silence)
    yield _gauge("workers", "Workers that are alive and take work.", snapshot.workers.count)
    yield _gauge("slots", "Slots of all these workers.", snapshot.workers.slots)


def _backlog(name: str, what: str, dates: Backlog) -> Iterator[Metric]:
    yield _gauge(f"{name}_waiting", f"{what}.", dates.waiting)
    yield _gauge(f"{name}_due", f"{what} whose time has come.", dates.due)
    yield _gauge(f"{name}_oldest_due_seconds", "How long the first of them is due.", dates.oldest)


def _accounts(balances: Sequence[AccountBalance], cap: int) -> Iterator[Metric]:
    """Yield the metrics of each account; credits and age only where a balance was read."""
    known = [balance for balance in balances if balance.account.is_read]

    def of(
        which: Sequence[AccountBalance],
        name: str,
        about: str,
        figure: Callable[[AccountBalance], float],
    ) -> Metric:
        values = {each.account.name: figure(each) for each in which}
        return _gauges(f"account_{name}", about, "account", values)

    yield of(
        known, "available_credits", "Free to spend, as last read.", lambda b: b.account.available
    )
    yield of(known, "balance_age_seconds", "Since that was read.", lambda b: b.balance_age)
    yield of(
        balances,
        "reserved_credits",
        "For messages that are not settled.",
        lambda b: b.account.reserved,
    )
    yield of(balances, "spent_credits", "What messages have cost.", lambda b: b.account.spent)
    yield of(balances, "messages_in_flight", "Paid messages under way.", lambda b: b.in_flight)
    yield of(
        balances,
        "messages_window",
        "The most that may be under way now.",
        lambda b: min(cap, int(b.account.window)),
    )
    yield of(balances, "cooling_seconds", "Rest after a 429 that is left.", lambda b: b.cooling)


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"reelqueue_{name}", about, value=value)


def _gauges(name: str, about: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"reelqueue_{name}", about, labels=(label,))
    for of, value in values.items():
        family.add_metric((of,), value)
    return family
