"""The Prometheus metrics of a worker, read at each scrape; docs/metrics.md lists them.

The metrics of the service are read from Redis, and are the same on every worker. The others are of
this process. No label has values that a job, a batch or a caller can choose.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import structlog
from kombu.transport.redis import PRIORITY_STEPS, Channel
from prometheus_client import Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from config.celery import wakeup_queue
from worker.journal.identity import IdentityVerdict
from worker.ledger.model.states import HOLD_REASONS, State
from worker.ledger.problems import Part, current_problems
from worker.ledger.reader import Reader
from worker.runtime.checks.durability import CHECKS
from worker.runtime.repeat_filter import RepeatFilter
from worker.runtime.runtime import Runtime
from worker.runtime.worker_registry import announced_accounts
from worker.telemetry.service_snapshot import (
    AccountBalance,
    Backlog,
    ServiceSnapshot,
    take_snapshot,
)
from worker.telemetry.start_blockage import BLOCKAGES

log = structlog.get_logger(__name__)

LOST: Final = "lost"
"""The outcome of a step that lost its lease."""
STEPS: Final = Counter(
    "reelqueue_steps",
    "Steps of this process by stage and by the state that followed.",
    ("stage", "outcome"),
    registry=None,
)


class Metrics(Collector):
    """Collects all metrics of one worker.

    Args:
        runtime: The process.
        records: A reader of the records on a client with a short timeout.
        broker: A client of the broker with a short timeout.
    """

    def __init__(self, runtime: Runtime, records: Reader, broker: Any) -> None:  # noqa: ANN401
        self._runtime = runtime
        self._records = records
        self._broker = broker
        self._redis_failures = RepeatFilter()
        self._broker_failures = RepeatFilter()

    def collect(self) -> Iterator[Metric]:
        """Read all metrics, without those of a server that does not answer."""
        yield from self._service()
        yield from self._queues()
        yield from self._process()

    def _service(self) -> Iterator[Metric]:
        about = "Whether Redis answered this scrape."
        try:
            # The accounts of other workers too, so that all workers show the same metrics.
            own, announced = self._runtime.accounts.names(), announced_accounts(self._records)
            snapshot = take_snapshot(self._records, sorted({*own, *announced}))
            problems = current_problems(self._records)
        except RedisError as error:
            _log_outage("Redis", self._redis_failures, error)
            yield _gauge("up", about, 0)
            return
        self._redis_failures.clear()
        yield _gauge("up", about, 1)
        lasting = {problem.part.value: problem.seconds for problem in problems}
        waits = {part.value: lasting.get(part.value, 0) for part in Part}
        about = "Seconds for which jobs have been waiting for a part of the service."
        yield _gauges("problem_seconds", about, "part", waits)
        yield from _jobs_and_workers(snapshot)
        yield from _accounts(snapshot.accounts, self._runtime.settings.limits.account_in_flight)

    def _queues(self) -> Iterator[Metric]:
        """Read the lengths of the Celery queues, which may be on another server."""
        about = "Whether the broker answered this scrape."
        queues = {
            "wakeups": wakeup_queue(self._runtime.settings.redis.namespace),
            "submissions": self._runtime.settings.redis.submit_queue,
        }
        try:
            with self._broker.pipeline(transaction=False) as pipe:
                for queue in queues.values():
                    for step in PRIORITY_STEPS:
                        pipe.llen(f"{queue}{Channel.sep}{step}" if step else queue)
                lengths = iter(pipe.execute())
        except RedisError as error:
            _log_outage("broker", self._broker_failures, error)
            yield _gauge("broker_up", about, 0)
            return
        self._broker_failures.clear()
        waiting = {name: sum(next(lengths) for _ in PRIORITY_STEPS) for name in queues}
        yield _gauge("broker_up", about, 1)
        yield _gauges("queue_messages", "Messages in a Celery queue.", "queue", waiting)

    def _process(self) -> Iterator[Metric]:
        status, leases = self._runtime.status, self._runtime.leases
        failed = {result.check for result in status.reasons_not_to_pay}
        obstacles = {check: check in failed for check in CHECKS}
        yield _gauge("worker_leases", "Jobs that this process works on.", len(leases))
        about = "Paid message streams that this process reads."
        yield _gauge("worker_streams", about, leases.count_streams())
        about = "1 if this process may send paid messages."
        yield _gauge("worker_may_pay", about, status.may_pay)
        about = "1 for each check that keeps this process from paying."
        yield _gauges("worker_pay_obstacle", about, "check", obstacles)
        verdict = status.identity
        identity = {each.value: each is verdict for each in IdentityVerdict}
        about = "1 for the result of the last comparison of the records with the payment journal."
        yield _gauges("worker_ledger_identity", about, "verdict", identity)
        about = "1 while this process is overloaded and claims no jobs."
        yield _gauge("worker_lagging", about, status.lagging)
        about = "1 while this process stops and claims no jobs."
        yield _gauge("worker_draining", about, status.draining)
        for family in STEPS.collect():
            # Without the samples "_created", which would double the number of series.
            family.samples = [each for each in family.samples if each.name.endswith("_total")]
            yield family


def _jobs_and_workers(snapshot: ServiceSnapshot) -> Iterator[Metric]:
    states = {state.value: snapshot.states.get(state, 0) for state in State}
    held = {reason.value: snapshot.held.get(reason, 0) for reason in sorted(HOLD_REASONS)}
    yield _gauges("jobs", "Jobs by state; queued is the backlog.", "state", states)
    yield _gauges("held_jobs", "Held jobs by reason.", "reason", held)
    clips = CounterMetricFamily("reelqueue_clips", "Clips delivered so far.")
    clips.add_metric((), snapshot.clips)
    yield clips
    yield from _backlog("agenda", "Jobs on the agenda", snapshot.agenda)
    yield from _backlog("polls", "Renders to poll", snapshot.polls)
    yield from _backlog("outbox", "Pending notifications", snapshot.outbox)
    yield _gauge("webhooks_pending", "Pending webhook messages.", snapshot.pending_webhooks)
    yield _gauge(
        "set_aside_records", "Records set aside because they cannot be read.", snapshot.set_aside
    )
    about = "Messages set aside because they cannot be handled."
    yield _gauge("set_aside_messages", about, snapshot.messages_aside)
    about = "Jobs whose present state has not been sent to Flower yet."
    yield _gauge("flower_events_waiting", about, snapshot.task_events)
    if snapshot.ticker_silence is not None:
        silence = snapshot.ticker_silence
        yield _gauge("ticker_silence_seconds", "Seconds since the last tick.", silence)
    by, seconds = snapshot.starts_blocked or ("", 0.0)
    blocked = {why: seconds if why == by else 0.0 for why in BLOCKAGES}
    about = "Seconds since a job last started, while jobs are queued."
    yield _gauges("starts_blocked_seconds", about, "why", blocked)
    yield _gauge("workers", "Live workers that take jobs.", snapshot.workers.count)
    yield _gauge("slots", "Slots of all live workers.", snapshot.workers.slots)


def _backlog(name: str, about: str, backlog: Backlog) -> Iterator[Metric]:
    oldest = backlog.oldest_due_seconds
    yield _gauge(f"{name}_waiting", f"{about}.", backlog.waiting)
    yield _gauge(f"{name}_due", f"{about} that are due.", backlog.due)
    yield _gauge(f"{name}_oldest_due_seconds", "Seconds since the first was due.", oldest)


def _accounts(balances: Sequence[AccountBalance], cap: int) -> Iterator[Metric]:
    """Yield the metrics of each account; credits and age only where a balance was read."""
    read = [each for each in balances if each.account.is_read]
    rows: tuple[tuple[Sequence[AccountBalance], str, str, Callable[[AccountBalance], float]], ...]
    rows = (
        (read, "available_credits", "Credits available.", lambda each: each.account.available),
        (
            read,
            "balance_age_seconds",
            "Seconds since the balance of the account was read.",
            lambda each: each.age_seconds,
        ),
        (balances, "reserved_credits", "Credits reserved.", lambda each: each.account.reserved),
        (balances, "spent_credits", "Credits spent.", lambda each: each.account.spent),
        (balances, "messages_in_flight", "Paid messages in flight.", lambda each: each.in_flight),
        (
            balances,
            "messages_window",
            "Maximum number of paid messages in flight.",
            lambda each: min(cap, int(each.account.window)),
        ),
        (
            balances,
            "cooling_seconds",
            "Seconds until the account is used again after a 429 response.",
            lambda each: each.cooling_seconds,
        ),
    )
    for which, name, about, figure in rows:
        values = {each.account.name: figure(each) for each in which}
        yield _gauges(f"account_{name}", about, "account", values)


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"reelqueue_{name}", about, value=value)


def _gauges(name: str, about: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"reelqueue_{name}", about, labels=(label,))
    for label_value, value in values.items():
        family.add_metric((label_value,), value)
    return family


def _log_outage(server: str, failures: RepeatFilter, error: RedisError) -> None:
    if failures.is_new("outage"):
        log.warning("scrape got no answer", server=server, error=str(error))
