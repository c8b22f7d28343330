"""Running a step: its claim, its lease and its commit."""

from typing import Any

import pytest
from pydantic import SecretStr
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError, ResponseError
from structlog.testing import capture_logs

from config.settings import RedisSettings
from tasks.step.commits import continue_in, repeat_later
from tasks.step.context import StepContext
from tasks.step.runner import Stage, run_step
from tests.support.waiting import refusing_port
from tests.unit.conftest import OpenRuntime
from tests.unit.tasks.conftest import ProducerHarness
from worker.ledger.ledger import Ledger
from worker.ledger.model.states import State
from worker.ledger.model.steps import Commit
from worker.runtime.repeat_filter import RepeatFilter
from worker.runtime.runtime import Runtime


def due_job(harness: ProducerHarness, monkeypatch: pytest.MonkeyPatch) -> tuple[Runtime, str]:
    """Submit a job that is due, for a runtime that the steps run in."""
    runtime = Runtime.open(harness.producer.settings)
    monkeypatch.setattr("tasks.step.runner.get_runtime", lambda: runtime)
    job_id = harness.submit()
    runtime.ledger.due(1, room=1, admit=1)
    return runtime, job_id


def test_a_heartbeat_between_a_commit_and_its_reply_is_no_lost_lease(
    harness: ProducerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, job_id = due_job(harness, monkeypatch)
    commit = Ledger.commit

    def committed(ledger: Ledger, *arguments: Any) -> bool:
        done = commit(ledger, *arguments)
        runtime.leases.heartbeat()
        return done

    monkeypatch.setattr(Ledger, "commit", committed)
    with capture_logs() as logs:
        stages = {State.PREPARING: lambda step: repeat_later(step, 0)}
        assert run_step(job_id, stages) == "preparing"
    assert [log["event"] for log in logs] == ["step done"]


def test_a_stage_that_ends_without_delay_leads_to_the_next_one_in_the_same_claim(
    harness: ProducerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, job_id = due_job(harness, monkeypatch)
    fences, due = [], []

    def stage(state: State, delay: float = 0) -> Stage:
        def run(step: StepContext) -> Commit:
            fences.append(step.lease.fence)
            due.extend(runtime.ledger.due(9, room=9, admit=9))
            return continue_in(state, {"a": step.job.state.value}, delay=delay)

        return run

    stages = {
        State.PREPARING: stage(State.GENERATING),
        State.GENERATING: stage(State.SETTLING),
        State.SETTLING: stage(State.RENDERING),
        State.RENDERING: stage(State.RENDERING, delay=30),
    }
    assert run_step(job_id, stages) == "rendering"
    assert len(set(fences)) == len(stages)
    assert due == []
    job = runtime.ledger.job(job_id)
    assert job is not None
    assert (job.state, job.owner, job.fact("a")) == (State.RENDERING, "", "rendering")


@pytest.mark.parametrize(
    ("state", "delay", "status"),
    [
        (State.PREPARING, 0.0, {}),
        (State.GENERATING, 1.0, {}),
        (State.GENERATING, 0.0, {"draining": True}),
        (State.GENERATING, 0.0, {"lagging": True}),
    ],
    ids=["same-stage", "delay", "draining", "lagging"],
)
def test_a_job_waits_for_its_next_wake_up_message(
    harness: ProducerHarness,
    monkeypatch: pytest.MonkeyPatch,
    state: State,
    delay: float,
    status: dict[str, bool],
) -> None:
    runtime, job_id = due_job(harness, monkeypatch)

    def prepare(_: StepContext) -> Commit:
        for name, value in status.items():
            setattr(runtime.status, name, value)
        return continue_in(state, delay=delay)

    assert run_step(job_id, {State.PREPARING: prepare}) == state
    job = runtime.ledger.job(job_id)
    assert job is not None
    assert job.owner == ""


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), "unavailable"),
        (ReadOnlyError("You can't write against a read only replica."), "unavailable"),
        (ResponseError("MISCONF Errors writing to the AOF file: No space left"), "unavailable"),
        (RedisConnectionError("reset"), "unavailable"),
        (ResponseError("WRONGTYPE Operation against a key"), "preparing"),
    ],
)
def test_a_redis_that_refuses_writes_does_not_count_as_a_failure_of_the_job(
    harness: ProducerHarness, monkeypatch: pytest.MonkeyPatch, error: RedisError, word: str
) -> None:
    """Otherwise several refusals in a row would hold the job as poison."""
    runtime, job_id = due_job(harness, monkeypatch)

    def refused(_: object) -> Commit:
        raise error

    is_outage = word == "unavailable"
    with capture_logs() as logs:
        assert run_step(job_id, {State.PREPARING: refused}).endswith(word)
    assert any(log["event"] == "unexpected exception in step" for log in logs) != is_outage
    job = runtime.ledger.job(job_id)
    assert job is not None
    assert job.fact("tries") == (None if is_outage else "1")


def test_an_outage_of_redis_is_one_line_for_all_steps_and_one_when_it_is_over(
    harness: ProducerHarness, monkeypatch: pytest.MonkeyPatch, open_runtime: OpenRuntime
) -> None:
    runtime = open_runtime(harness.producer.settings)
    monkeypatch.setattr("tasks.step.runner.get_runtime", lambda: runtime)
    job_id, stages = harness.submit(), {State.PREPARING: lambda step: repeat_later(step, 0)}
    settings = harness.producer.settings
    nowhere = RedisSettings(url=SecretStr(f"redis://127.0.0.1:{refusing_port()}/0"))
    unreachable = open_runtime(settings.model_copy(update={"redis": nowhere}))
    monkeypatch.setattr("tasks.step.runner._outages", RepeatFilter())
    with capture_logs() as logs:
        with monkeypatch.context() as outage:
            outage.setattr("tasks.step.runner.get_runtime", lambda: unreachable)
            for _ in range(3):
                assert run_step(job_id, stages) == "redis_unavailable"
        runtime.ledger.due(1, room=1, admit=1)
        assert run_step(job_id, stages) == "preparing"
    events = [log["event"] for log in logs if log["event"] != "step done"]
    assert events == [
        "Redis does not answer; steps are repeated later",
        "Redis answers again",
    ]
