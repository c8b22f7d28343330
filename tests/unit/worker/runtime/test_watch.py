"""The tick of a process that has nothing to do is one call, and misses nothing that is due."""

import pytest
from pydantic import SecretStr
from redis import Redis

from config.settings import RedisSettings, Settings
from tests.support.costs import redis_cost
from tests.support.valkey import Valkey
from tests.unit.conftest import OpenRuntime
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob
from worker.runtime.leader_lease import LeaderLease
from worker.runtime.runtime import Runtime
from worker.runtime.watch import Watch

MAX_COMMANDS = 8
"""Upper bound for a tick that finds nothing to do."""


@pytest.fixture
def runtime(redis: Redis, valkey: Valkey, open_runtime: OpenRuntime) -> Runtime:
    redis.ping()
    return open_runtime(Settings(redis=RedisSettings(url=SecretStr(valkey.url))))


def watched(runtime: Runtime) -> tuple[Watch, list[object]]:
    """A watch of the leader that has ticked once, and what it dispatches from then on."""
    ticks: list[object] = []

    def tick() -> None:
        ticks.append(runtime.ledger.due(9, room=9, admit=9))

    watch = Watch(runtime, LeaderLease(runtime), tick)
    watch.run_once()
    assert ticks == [[]], "a new leader ticks"
    ticks.clear()
    return watch, ticks


def test_a_tick_without_work_is_one_call(runtime: Runtime) -> None:
    watch, ticks = watched(runtime)
    watch.run_once()
    before = redis_cost(runtime.ledger.redis)
    reading = redis_cost(runtime.ledger.redis).since(before)
    before = redis_cost(runtime.ledger.redis)
    watch.run_once()
    cost = redis_cost(runtime.ledger.redis).since(before).since(reading)
    assert (cost.scripts, ticks) == (1, [])
    assert cost.commands <= MAX_COMMANDS
    assert not runtime.status.has_events
    assert not runtime.status.has_polls


def test_a_job_that_is_submitted_is_dispatched_at_the_next_tick(runtime: Runtime) -> None:
    watch, ticks = watched(runtime)
    runtime.ledger.submit(NewJob(id="j", payload={}, fingerprint="f"))
    watch.run_once()
    assert ticks == [[("j", State.PREPARING)]]


def test_a_notification_a_poll_and_an_event_are_noticed(runtime: Runtime) -> None:
    watch, ticks = watched(runtime)
    ledger = runtime.ledger
    ledger.submit(NewJob(id="j", payload={}, fingerprint="f"))
    watch.run_once()
    ticks.clear()
    watch.run_once()
    assert ticks == [], "a job that is not due is no work"
    fence = ledger.claim("j", "w", "n").fence
    facts = {"render_submitted": "1"}
    assert ledger.commit("j", fence, Commit(State.RENDERING, delay=60, facts=facts))
    watch.run_once()
    assert (runtime.status.has_polls, runtime.status.has_events, ticks) == (True, True, [])
    ledger.redis.hset(ledger.key("job", "j"), "not_before", 0)
    fence = ledger.claim("j", "w", "n3").fence
    assert ledger.commit("j", fence, Commit(State.FAILED, reason=Reason.BAD_CLIP))
    watch.run_once()
    assert len(ticks) == 1


def test_a_process_that_does_not_lead_ticks_when_it_leads(
    runtime: Runtime, open_runtime: OpenRuntime
) -> None:
    lease = LeaderLease(open_runtime(runtime.settings))
    assert lease.acquire()
    ticks: list[object] = []
    watch = Watch(runtime, LeaderLease(runtime), lambda: ticks.append(1))
    watch.run_once()
    assert ticks == []
    lease.release()
    watch.run_once()
    assert ticks == [1]
