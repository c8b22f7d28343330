"""The sender of events, from the scripts of the ledger to what Flower receives."""

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.worker import control
from redis import Redis

from config.celery import celery_config
from config.settings import RedisSettings, Settings
from tests.support.event_log import EventLog
from tests.support.valkey import Valkey
from tests.support.waiting import wait_until
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob
from worker.ledger.task_events import REPLAY_DELAY_MS
from worker.runtime.runtime import Runtime
from worker.runtime.worker_registry import record_node, registered_name
from worker.telemetry.event_sender import EventSender


class Service:
    """A ledger, its sender of events, and what Flower receives."""

    def __init__(self, url: str) -> None:
        self.settings = Settings(redis=RedisSettings(url=url, namespace="t"))
        self.runtime = Runtime.open(self.settings)
        self.ledger = self.runtime.ledger
        self.redis: Any = self.ledger.redis
        self.app = Celery("events", set_as_current=False)
        self.app.config_from_object(celery_config(self.settings))
        self.sender = EventSender(self.app, self.runtime, "leader@h")
        record_node(self.ledger, registered_name("w1@h", "w1"), 60)
        record_node(self.ledger, registered_name("dead@h", "dead"), -1)

    def submit(self, job_id: str) -> None:
        payload = {"image": f"/photos/{job_id}.png", "prompt": "p"}
        self.ledger.open_batch("b", "Spring", 1)
        self.ledger.submit(NewJob(id=job_id, payload=payload, fingerprint="f", batch_id="b"))

    def claim(self, job_id: str, owner: str = "w1") -> str:
        self.ledger.due(9, room=9, admit=9)
        claim = self.ledger.claim(job_id, owner, "n")
        assert claim.verdict == "OK"
        return claim.fence

    def run(self, job_id: str, state: State, owner: str = "w1") -> None:
        """Claim a job and end its step."""
        reason = {State.HELD: Reason.PLAN, State.FAILED: Reason.BAD_IMAGE}.get(state)
        resume = State.PREPARING if state is State.HELD else None
        end = Commit(state, reason=reason, message="m", resume=resume)
        assert self.ledger.commit(job_id, self.claim(job_id, owner), end)

    def pending(self) -> set[str]:
        return set(self.redis.zrange("task_events:{t}", 0, -1))

    def replayed(self) -> set[str]:
        return set(self.redis.zrange("task_replay:{t}", 0, -1))

    def replay(self) -> None:
        """Begin a replay as if the delay after the request had passed."""
        control.Panel.data["heartbeat"](NoDispatcher())
        self.sender.run_once()
        self.redis.decrby("task_replay_at:{t}", REPLAY_DELAY_MS)
        self.sender.run_once()


class NoDispatcher:
    """Celery's state of a worker whose events are off."""

    consumer: Any = None

    def __init__(self) -> None:
        self.consumer = self
        self.event_dispatcher = None


@pytest.fixture
def service(redis: Redis, valkey: Valkey) -> Iterator[Service]:
    redis.ping()
    service = Service(valkey.url)
    yield service
    service.redis.close()
    service.app.close()


@pytest.fixture
def flower(service: Service) -> Iterator[EventLog]:
    """Flower, which has received the events of a first job."""
    service.submit("first")
    service.claim("first")

    def send_again() -> bool:
        service.redis.zadd("task_replay:{t}", {"first": 1})
        service.sender.run_once()
        return log.has("task-started")

    with service.app.connection():
        log = EventLog(service.app)
    try:
        wait_until(send_again, "a first event")
        yield log
    finally:
        log.stop()


def expect(flower: EventLog, job_id: str, state: str, worker: str = "w1@h") -> Any:
    """Wait until a row is in a state, and return it."""

    def row() -> Any:
        return flower.state.tasks.get(job_id)

    wait_until(lambda: row() and row().state == state, f"{job_id} to be {state}")
    assert row().worker.hostname == worker
    return row()


def test_a_job_is_received_when_it_first_leaves_its_flow(
    service: Service, flower: EventLog
) -> None:
    service.submit("j")
    assert service.pending() == set(), "100,000 rows are no 100,000 events"
    service.claim("j")
    service.sender.run_once()
    expect(flower, "j", "STARTED")
    assert service.pending() == set()
    assert flower.types_of("j") == ["task-received", "task-started"]


def test_a_job_that_is_held_released_failed_and_retried_shows_the_truth(
    service: Service, flower: EventLog
) -> None:
    service.submit("j")
    service.run("j", State.HELD)
    service.sender.run_once()
    assert "held, plan: m" in expect(flower, "j", "RETRY").exception
    assert service.ledger.release("j") == "OK"
    service.sender.run_once()
    wait_until(lambda: "waits" in flower.state.tasks["j"].exception, "the release to be shown")
    service.run("j", State.FAILED)
    service.sender.run_once()
    expect(flower, "j", "FAILURE")
    assert service.ledger.retry("j") == "OK"
    service.sender.run_once()
    expect(flower, "j", "RETRY", "leader@h")
    assert service.redis.hget("job:{t}:j", "reopened") is None
    service.run("j", State.SUCCEEDED)
    service.sender.run_once()
    expect(flower, "j", "SUCCESS")
    assert service.ledger.retry("j") == "NOT_FAILED"


def test_a_retry_that_is_claimed_before_it_was_sent_leaves_the_failure(
    service: Service, flower: EventLog
) -> None:
    service.submit("j")
    service.run("j", State.FAILED)
    service.sender.run_once()
    expect(flower, "j", "FAILURE")
    service.ledger.retry("j")
    service.claim("j")
    service.sender.run_once()
    expect(flower, "j", "STARTED")


def test_a_cancelled_job_stays_revoked_when_somebody_retries_it(
    service: Service, flower: EventLog
) -> None:
    service.submit("j")
    service.run("j", State.HELD)
    service.ledger.cancel("j")
    service.sender.run_once()
    expect(flower, "j", "REVOKED", "leader@h")
    assert service.ledger.retry("j") == "NOT_FAILED"
    service.sender.run_once()
    assert flower.state.tasks["j"].state == "REVOKED"


def test_jobs_that_never_started_are_sent_slowly(service: Service, flower: EventLog) -> None:
    """Thousands of them may be cancelled at once, which delays no other event."""
    service.submit("j")
    service.ledger.cancel("j")
    assert (service.pending(), service.replayed()) == (set(), {"j"})
    service.sender.run_once()
    expect(flower, "j", "REVOKED", "leader@h")


def test_the_worker_is_that_of_the_present_step_unless_it_is_dead(
    service: Service, flower: EventLog
) -> None:
    record_node(service.ledger, registered_name("w2@h", "w2"), 60)
    service.submit("j")
    fence = service.claim("j")
    service.sender.run_once()
    expect(flower, "j", "STARTED")
    service.ledger.commit("j", fence, Commit(State.GENERATING))
    service.claim("j", "w2")
    service.sender.run_once()
    wait_until(lambda: flower.state.tasks["j"].worker.hostname == "w2@h", "the other worker")
    assert flower.types_of("j") == ["task-received", "task-started"] * 2
    service.submit("k")
    service.run("k", State.SUCCEEDED, "dead")
    service.sender.run_once()
    expect(flower, "k", "SUCCESS", "leader@h")
    assert "dead@h" not in flower.state.workers


def test_polls_by_other_workers_are_no_events(service: Service) -> None:
    service.submit("j")
    service.ledger.commit("j", service.claim("j"), Commit(State.RENDERING))
    service.sender.run_once()
    service.claim("j", "w2")
    assert service.pending() == set()


def test_what_changes_while_it_is_sent_is_sent_again(service: Service, flower: EventLog) -> None:
    service.submit("j")
    fence = service.claim("j")
    changed, _ = service.sender._events.pending(9, 9)
    service.ledger.commit("j", fence, Commit(State.SUCCEEDED))
    service.sender._events.sent((event, False) for event in changed)
    assert service.pending() == {"j"}
    service.sender.run_once()
    expect(flower, "j", "SUCCESS")


def test_a_sender_that_was_overtaken_has_the_newest_state_sent_again(
    service: Service, flower: EventLog
) -> None:
    service.submit("j")
    fence = service.claim("j")
    old, _ = service.sender._events.pending(9, 9)
    tasks = list(service.sender._read(old))
    service.ledger.commit("j", fence, Commit(State.FAILED, reason=Reason.BAD_IMAGE))
    service.sender.run_once()
    expect(flower, "j", "FAILURE")
    # As a frozen worker does when it resumes.
    service.ledger.retry("j")
    service.run("j", State.SUCCEEDED)
    service.sender._publish(list(service.sender._built(tasks)))
    service.sender._send(old, read_at=0)
    assert service.replayed() == {"j"}
    service.sender.run_once()
    expect(flower, "j", "SUCCESS")


def test_a_sender_that_is_always_slow_makes_progress(service: Service, flower: EventLog) -> None:
    service.submit("j")
    service.claim("j")
    changed, _ = service.sender._events.pending(9, 9)
    service.sender._send(changed, read_at=0)
    assert (service.pending(), service.replayed()) == (set(), {"j"})
    expect(flower, "j", "STARTED")


def test_a_flower_that_connects_gets_the_present_states(service: Service, flower: EventLog) -> None:
    ends = {"held": State.HELD, "done": State.SUCCEEDED, "bad": State.FAILED, "old": State.FAILED}
    for name, state in ends.items():
        service.submit(name)
        service.run(name, state)
    service.submit("waits")
    service.sender.run_once()
    for name, shown in {"held": "RETRY", "done": "SUCCESS", "bad": "FAILURE"}.items():
        expect(flower, name, shown)
    expect(flower, "old", "FAILURE")
    service.redis.zadd("task_rows:{t}", {"old": 1})
    # One that was started again, and has lost everything.
    flower.state.clear(ready=False)
    service.replay()
    for name, shown in {"first": "STARTED", "held": "RETRY", "done": "SUCCESS"}.items():
        expect(flower, name, shown)
    expect(flower, "bad", "FAILURE")
    assert not {"waits", "old"} & flower.state.tasks.keys()
    assert (service.pending(), service.replayed()) == (set(), set())


def test_a_worker_that_does_not_lead_sends_nothing(service: Service) -> None:
    service.redis.set("ticker:{t}", "another")
    service.submit("j")
    service.claim("j")
    service.sender.run_once()
    assert service.pending() == {"j"}


@pytest.mark.parametrize("damage", ["string", "gone", "payload"])
def test_a_damaged_record_delays_no_other(service: Service, flower: EventLog, damage: str) -> None:
    for name in ("damaged", "j"):
        service.submit(name)
        service.claim(name)
    if damage == "payload":
        service.redis.hset("job:{t}:damaged", "payload", "[[")
    else:
        service.redis.delete("job:{t}:damaged")
    if damage == "string":
        service.redis.set("job:{t}:damaged", "junk")
    service.sender.run_once()
    expect(flower, "j", "STARTED")
    assert service.pending() == set()
