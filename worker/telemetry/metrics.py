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
HELP_TEXTS: Final[Mapping[str, str]] = {
    "up": "Whether Redis answered this scrape.",
    "broker_up": "Whether the broker answered this scrape.",
    "jobs": "Jobs by state; queued is the backlog.",
    "held_jobs": "Held jobs by reason.",
    "agenda_waiting": "Jobs on the agenda.",
    "agenda_due": "Jobs on the agenda that are due.",
    "agenda_oldest_due_seconds": "Seconds since the first job on the agenda was due.",
    "polls_waiting": "Renders to poll.",
    "polls_due": "Renders whose poll is due.",
    "polls_oldest_due_seconds": "Seconds since the first poll was due.",
    "outbox_waiting": "Pending notifications.",
    "outbox_due": "Pending notifications that are due.",
    "outbox_oldest_due_seconds": "Seconds since the first notification was due.",
    "webhooks_pending": "Pending webhook messages.",
    "queue_messages": "Messages in a Celery queue.",
    "set_aside_records": "Records set aside because they cannot be read.",
    "set_aside_messages": "Messages set aside because they cannot be handled.",
    "flower_events_waiting": "Jobs whose present state has not been sent to Flower yet.",
    "problem_seconds": "Seconds for which jobs have been waiting for a part of the service.",
    "ticker_silence_seconds": "Seconds since the last tick.",
    "starts_blocked_seconds": "Seconds since a job last started, while jobs are queued.",
    "workers": "Live workers that take jobs.",
    "slots": "Steps that all live workers can run at the same time.",
    "account_available_credits": "Credits available.",
    "account_balance_age_seconds": "Seconds since the balance of the account was read.",
    "account_reserved_credits": "Credits reserved.",
    "account_spent_credits": "Credits spent.",
    "account_messages_in_flight": "Paid messages in flight.",
    "account_messages_window": "Maximum number of paid messages in flight.",
    "account_cooling_seconds": "Seconds until the account is used again after a 429 response.",
    "worker_leases": "Jobs that this process works on.",
    "worker_streams": "Paid message streams that this process reads.",
    "worker_may_pay": "1 if this process may send paid messages.",
    "worker_pay_obstacle": "1 for each check that keeps this process from paying.",
    "worker_ledger_identity": "1 for the result of the last comparison of records and journal.",
    "worker_lagging": "1 while this process is overloaded and claims no jobs.",
    "worker_draining": "1 while this process stops and claims no jobs.",
}
"""The help texts of the gauges, by their names without the prefix."""


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
        try:
            # The accounts of other workers too, so that all workers show the same metrics.
            own, announced = self._runtime.accounts.names(), announced_accounts(self._records)
            snapshot = take_snapshot(self._records, sorted({*own, *announced}))
            problems = current_problems(self._records)
        except RedisError as error:
            _log_outage("Redis", self._redis_failures, error)
            yield _gauge("up", 0)
            return
        self._redis_failures.clear()
        yield _gauge("up", 1)
        lasting = {problem.part.value: problem.seconds for problem in problems}
        waits = {part.value: lasting.get(part.value, 0) for part in Part}
        yield _gauges("problem_seconds", "part", waits)
        yield from _jobs_and_workers(snapshot)
        yield from _accounts(snapshot.accounts, self._runtime.settings.limits.account_in_flight)

    def _queues(self) -> Iterator[Metric]:
        """Read the lengths of the Celery queues, which may be on another server."""
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
            yield _gauge("broker_up", 0)
            return
        self._broker_failures.clear()
        waiting = {name: sum(next(lengths) for _ in PRIORITY_STEPS) for name in queues}
        yield _gauge("broker_up", 1)
        yield _gauges("queue_messages", "queue", waiting)

    def _process(self) -> Iterator[Metric]:
        status, leases = self._runtime.status, self._runtime.leases
        failed = {result.check for result in status.reasons_not_to_pay}
        yield _gauge("worker_leases", len(leases))
        yield _gauge("worker_streams", leases.count_streams())
        yield _gauge("worker_may_pay", status.may_pay)
        obstacles = {check: check in failed for check in CHECKS}
        yield _gauges("worker_pay_obstacle", "check", obstacles)
        verdict = status.identity
        identity = {each.value: each is verdict for each in IdentityVerdict}
        yield _gauges("worker_ledger_identity", "verdict", identity)
        yield _gauge("worker_lagging", status.lagging)
        yield _gauge("worker_draining", status.draining)
        for family in STEPS.collect():
            # Without the samples "_created", which would double the number of series.
            family.samples = [each for each in family.samples if each.name.endswith("_total")]
            yield family


def _jobs_and_workers(snapshot: ServiceSnapshot) -> Iterator[Metric]:
    states = {state.value: snapshot.states.get(state, 0) for state in State}
    held = {reason.value: snapshot.held.get(reason, 0) for reason in sorted(HOLD_REASONS)}
    yield _gauges("jobs", "state", states)
    yield _gauges("held_jobs", "reason", held)
    clips = CounterMetricFamily("reelqueue_clips", "Clips delivered so far.")
    clips.add_metric((), snapshot.clips)
    yield clips
    yield from _backlog("agenda", snapshot.agenda)
    yield from _backlog("polls", snapshot.polls)
    yield from _backlog("outbox", snapshot.outbox)
    yield _gauge("webhooks_pending", snapshot.pending_webhooks)
    yield _gauge("set_aside_records", snapshot.set_aside)
    yield _gauge("set_aside_messages", snapshot.messages_aside)
    yield _gauge("flower_events_waiting", snapshot.task_events)
    if snapshot.ticker_silence is not None:
        yield _gauge("ticker_silence_seconds", snapshot.ticker_silence)
    by, seconds = snapshot.starts_blocked or ("", 0.0)
    blocked = {why: seconds if why == by else 0.0 for why in BLOCKAGES}
    yield _gauges("starts_blocked_seconds", "why", blocked)
    yield _gauge("workers", snapshot.workers.count)
    yield _gauge("slots", snapshot.workers.slots)


def _backlog(name: str, backlog: Backlog) -> Iterator[Metric]:
    yield _gauge(f"{name}_waiting", backlog.waiting)
    yield _gauge(f"{name}_due", backlog.due)
    yield _gauge(f"{name}_oldest_due_seconds", backlog.oldest_due_seconds)


def _accounts(balances: Sequence[AccountBalance], cap: int) -> Iterator[Metric]:
    """Yield the metrics of each account; credits and age only where a balance was read."""
    read = [each for each in balances if each.account.is_read]
    yield _of_accounts("available_credits", read, lambda each: each.account.available)
    yield _of_accounts("balance_age_seconds", read, lambda each: each.age_seconds)
    yield _of_accounts("reserved_credits", balances, lambda each: each.account.reserved)
    yield _of_accounts("spent_credits", balances, lambda each: each.account.spent)
    yield _of_accounts("messages_in_flight", balances, lambda each: each.in_flight)
    yield _of_accounts("messages_window", balances, lambda each: min(cap, int(each.account.window)))
    yield _of_accounts("cooling_seconds", balances, lambda each: each.cooling_seconds)


def _of_accounts(
    name: str, balances: Sequence[AccountBalance], value_of: Callable[[AccountBalance], float]
) -> Metric:
    values = {each.account.name: value_of(each) for each in balances}
    return _gauges(f"account_{name}", "account", values)


def _gauge(name: str, value: float) -> Metric:
    return GaugeMetricFamily(f"reelqueue_{name}", HELP_TEXTS[name], value=value)


def _gauges(name: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"reelqueue_{name}", HELP_TEXTS[name], labels=(label,))
    for label_value, value in values.items():
        family.add_metric((label_value,), value)
    return family


def _log_outage(server: str, failures: RepeatFilter, error: RedisError) -> None:
    if failures.is_new("outage"):
        log.warning("server did not answer a scrape", server=server, error=str(error))
