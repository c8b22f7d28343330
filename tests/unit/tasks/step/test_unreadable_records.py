"""Damaged records: no operation fails because of one, and its job is set aside or held."""

import io
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis import Redis

from tasks.producer import actions, queries
from tasks.producer.producer import Producer
from tasks.reports.export import write_csv, write_jsonl
from tasks.schema.errors import UnknownId
from tasks.step.commits import failure_facts, repeat_later
from tasks.step.context import StepContext
from tasks.step.runner import run_step
from tests.support.ledger_access import due_notifications
from tests.unit.tasks.conftest import ProducerHarness
from worker.ledger.model.jobs import UnreadableRecordError
from worker.ledger.model.states import RUNNING, Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob
from worker.ledger.payments import Payments
from worker.runtime.retention import prune
from worker.runtime.runtime import Runtime

JOB, BATCH = "job:{rq}:bad", "batch:{rq}:b"
CLIP = (
    '{"key": "b/a.mp4", "poster": null, "findings": [], "bytes": 1, "sha256": "0", "width": 1,'
    ' "height": 1, "seconds": 1, "codec": "h264"}'
)
FACTS: Final = {
    "clip": CLIP,
    "clip_name": "b/a",
    "decisions": '[{"choice": "as_done", "by": "me", "at": 1}]',
    "changes": "[]",
    "session_id": "s",
    "webhook": "https://example.org",
    "progress_at": "1",
    "progress": "Half of it.",
    "tries": "1",
    "tries_of": "fault",
    "follows": "",
    "shared": "",
}
"""Facts that a job may have besides the fields that the scripts write."""

FIELDS: Final = (
    *("v", "id", "payload", "flow", "batch", "parent", "state", "entered_at", "created_at"),
    *("started_at", "finished_at", "revision", "reason", "resume", "owner", "nonce", "fence"),
    *("lease", "not_before", "crashes", "attempts", "turn", "paid", "intents", "sent_at"),
    *("cancel_requested", "account", "row", "key", "call:1", "cost:1", "outcome:1", "before:1"),
    *("ms:queued", "ms:preparing", "committed", *FACTS),
)
VALUES: Final = (
    *("", "x", "-1", "0", "1", "1.5", "nan", "inf", "1e400", "0x10", "007", "9" * 14, "9" * 20),
    *("null", "[1]", "[" * 3000, '{"image": ', '{"image": 1}', '{"image": "a", "data": 1}'),
    *('{"key": 1}', '"text"', "held", "bad", "\x00\x1b", "ü" * 99, None),
)
"""Values of a damaged field; None: the field is missing."""
FOREIGN: Final[Mapping[str, Callable[[Redis, str], object]]] = {
    "text": lambda redis, key: redis.set(key, "text"),
    "list": lambda redis, key: redis.rpush(key, "text"),
    "zset": lambda redis, key: redis.zadd(key, {"text": 1}),
    "cut short": lambda redis, key: redis.hset(key, "payload", "{}"),
}
BATCH_FIELDS: Final = ("n:queued", "n:preparing", "n:held", "h:plan", "committed", "max_credits")
MORE_BATCH_FIELDS: Final = ("created_at", "pilot", "generation", "sealed", "paused", "session")

Damage = tuple[str, str, str | None]
damages = st.one_of(
    st.tuples(st.just(JOB), st.sampled_from(FIELDS), st.sampled_from(VALUES)),
    st.tuples(
        st.just(BATCH),
        st.sampled_from(BATCH_FIELDS + MORE_BATCH_FIELDS),
        st.sampled_from(VALUES),
    ),
    st.tuples(st.sampled_from((JOB, BATCH)), st.just("its type"), st.sampled_from(sorted(FOREIGN))),
)
stories = st.sampled_from(
    ["queued", "preparing", "owned", "paid", "held", "question", "failed", "succeeded"]
)


class WorkerHarness:
    """A producer, and a worker that runs one step of a job in this process."""

    def __init__(self, producer: Producer) -> None:
        self.producer = producer
        self.ledger = producer.ledger
        self.redis: Redis = producer.ledger.redis
        self.payments = Payments(self.ledger)
        self.runtime = Runtime.with_ledger(producer.ledger, producer.settings)

    def begin(self, story: str) -> str:
        """Submit three jobs, bring the one called "bad" to a state, and return its fence."""
        ledger = self.ledger
        self.redis.flushdb()
        self.payments.record_balance("a", read_at=1, available=1000, frozen=0, total=1000)
        ledger.open_batch("b", "spring", 1)
        for name, batch in (("busy", ""), ("bad", "b")):
            self._submit(name, batch)
        if story == "queued":
            self._submit("good", "")
            return "0:n"
        ledger.due(2, room=2, admit=2)
        self._submit("good", "")
        self.busy = self._claim("busy")
        if story == "preparing":
            return "0:n"
        fence = self._claim("bad")
        ledger.update_facts("bad", fence, {**FACTS, "account": "a"})
        if story == "owned":
            return fence
        call = "bad:1:1"
        self.payments.begin("bad", fence, turn=1, call=call, cost=100, cap=10)
        ends = {
            "held": Commit(State.HELD, reason=Reason.PLAN, resume=State.RENDERING),
            "question": Commit(State.HELD, reason=Reason.QUESTION, resume=State.GENERATING),
            "failed": Commit(State.FAILED, reason=Reason.BAD_CLIP),
            "succeeded": Commit(State.SUCCEEDED),
        }
        if story in ends:
            assert ledger.commit("bad", fence, ends[story])
        return fence

    def _submit(self, name: str, batch: str) -> None:
        payload = {"image": "cat.jpg", "prompt": "pan"}
        self.ledger.submit(NewJob(id=name, payload=payload, fingerprint=name, batch_id=batch))

    def _claim(self, name: str) -> str:
        claim = self.ledger.claim(name, "w", uuid4().hex)
        assert claim.verdict == "OK"
        return claim.fence

    def damage(self, damage: Damage) -> None:
        key, field, value = damage
        if field == "its type":
            assert value is not None
            self.redis.delete(key)
            FOREIGN[value](self.redis, key)
        elif value is None:
            self.redis.hdel(key, field)
        else:
            self.redis.hset(key, field, value)

    def do(self, operation: str, fence: str) -> None:
        """Run one operation of workers or people, on all jobs where that is possible."""
        ledger, producer = self.ledger, self.producer
        match operation:
            case "due":
                ledger.due(100, room=100, admit=100)
                due_notifications(ledger)
                ledger.postpone_notification("job:bad", 1)
            case "heartbeat":
                assert ledger.heartbeat([("bad", fence), ("busy", self.busy)])[1]
            case "step":
                self.step("bad")
            case "facts":
                ledger.update_facts("bad", fence, {"draft": "{}"})
                self.payments.record_facts("bad", "bad:1:1", {"ended": "1"})
            case "commit":
                ledger.commit("bad", fence, Commit(State.RENDERING))
            case "cancel":
                actions.cancel(producer, "bad")
            case "release":
                actions.release(producer, "bad")
            case "as_done" | "pay_again":
                actions.release(producer, "bad", mode=operation, who="me")
            case "retry":
                actions.retry(producer, "bad")
            case "notified":
                ledger.acknowledge_notifications([("job:bad", 1)])
                ledger.decline("bad")
            case "balance":
                now = ledger.now_ms()
                self.payments.record_balance("a", read_at=now, available=900, frozen=0, total=900)
            case "prune":
                prune(ledger, ledger.now_ms() + 1)
            case "list":
                assert {job.job_id for job in queries.list_jobs(producer)} >= {"busy", "good"}
                assert {batch.batch_id for batch in queries.list_batches(producer)} <= {"b"}
                for result in queries.list_jobs(producer):
                    assert result.model_dump_json()
            case "results":
                list(producer.ledger.row_states("b"))
                columns = queries.list_batch_columns(producer, "b")
                write_csv(columns, queries.list_batch_jobs(producer, "b"), io.StringIO())
                write_jsonl(queries.list_batch_jobs(producer, "b"), io.StringIO())

    def step(self, name: str) -> str:
        """Run a step of a job, as a worker does after a wake-up message."""
        return run_step(name, dict.fromkeys(RUNNING, _fail_again))

    def is_accounted_for(self) -> bool:
        """Whether the job can be read, or is set aside, or is held."""
        try:
            self.ledger.job("bad")
        except UnreadableRecordError:
            if self.redis.hget("unreadable:{rq}", "bad"):
                return True
            return self.redis.hget(JOB, "state") not in {State.QUEUED, *RUNNING}
        return True


def _fail_again(step: StepContext) -> Commit:
    step.update_facts(clip_name="b/a")
    return repeat_later(step, 0, **failure_facts(step, "fault", "failed again"))


OPERATIONS: Final = (
    *("due", "heartbeat", "step", "facts", "commit", "cancel", "release", "as_done", "pay_again"),
    *("retry", "notified", "balance", "prune", "list", "results"),
)


@pytest.fixture
def worker_harness(harness: ProducerHarness, monkeypatch: pytest.MonkeyPatch) -> WorkerHarness:
    """A worker harness on an empty namespace."""
    worker_harness = WorkerHarness(harness.producer)
    monkeypatch.setattr("tasks.step.runner.get_runtime", lambda: worker_harness.runtime)
    return worker_harness


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    story=stories,
    damage=damages,
    operations=st.lists(st.sampled_from(OPERATIONS), min_size=1, max_size=6, unique=True),
)
@example("preparing", (JOB, "fence", "x"), ["step"])
@example("preparing", (JOB, "turn", "9" * 14), ["step", "facts"])
@example("queued", (BATCH, "its type", "text"), ["due", "list", "results"])
@example("owned", (BATCH, "n:preparing", "x"), ["commit", "list"])
@example("succeeded", (JOB, "clip", '{"key": '), ["list", "prune"])
@example("question", (JOB, "decisions", "{"), ["pay_again"])
@example("owned", (JOB, "tries", "x"), ["step"])
def test_a_damaged_record_stops_nothing_and_its_job_is_accounted_for(
    worker_harness: WorkerHarness, story: str, damage: Damage, operations: list[str]
) -> None:
    fence = worker_harness.begin(story)
    if story == "queued":
        operations = [name for name in operations if name != "heartbeat"]
    worker_harness.damage(damage)
    for operation in operations:
        with suppress(UnknownId):  # it may have been pruned
            worker_harness.do(operation, fence)
    # The other jobs continue, and a step of the damaged job finds why it cannot run.
    worker_harness.ledger.due(100, room=100, admit=100)
    assert worker_harness.step("good") == "preparing"
    if worker_harness.redis.type(JOB) == "hash":
        worker_harness.redis.hset(JOB, mapping={"lease": "1", "not_before": "0"})
    worker_harness.step("bad")
    assert worker_harness.is_accounted_for()
    counts: Any = worker_harness.ledger.counts()[0]
    assert all(n > 0 for n in counts.values()), counts
