"""Redo: one new clip for a repeated request, and any number for different ones."""

import pytest

import tasks
from config.settings import get_settings
from tasks.producer import queries
from tasks.producer.redo import redo
from tasks.schema.errors import KeyConflict, UnknownId
from tasks.schema.submission import Submission
from tests.support.commands import close_and_clear_caches
from tests.unit.tasks.conftest import ProducerHarness
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit


def failed_job(harness: ProducerHarness, **fields: object) -> str:
    """Submit a job that fails, and return its id."""
    job_id = harness.submit(**fields)
    harness.finish_step(job_id, State.FAILED, reason=Reason.BAD_CLIP)
    return job_id


def test_a_repeated_redo_returns_the_same_job(harness: ProducerHarness) -> None:
    parent = failed_job(harness)
    made = redo(harness.producer, parent, "Pan left")
    assert made == Submission(made.job_id, State.QUEUED, duplicate=False)
    assert redo(harness.producer, parent, "Pan left") == Submission(
        made.job_id, State.QUEUED, duplicate=True
    )
    assert redo(harness.producer, parent, "Pan right").job_id != made.job_id, "another prompt"
    assert redo(harness.producer, parent).job_id not in {made.job_id, parent}, (
        "the prompt of the original"
    )


def test_a_held_redo_has_not_ended(harness: ProducerHarness) -> None:
    parent = failed_job(harness)
    made = redo(harness.producer, parent)
    harness.finish_step(made.job_id, State.HELD, reason=Reason.CREDITS)
    assert redo(harness.producer, parent) == Submission(made.job_id, State.HELD, duplicate=True)


def test_a_redo_that_has_ended_can_be_repeated(harness: ProducerHarness) -> None:
    parent = failed_job(harness)
    made = []
    for _ in range(3):
        made.append(redo(harness.producer, parent).job_id)
        harness.finish_step(made[-1], State.SUCCEEDED)
    assert len({parent, *made}) == 4
    last = redo(harness.producer, made[-1])
    assert not last.duplicate
    assert queries.get(harness.producer, last.job_id).parent_id == made[-1]


def test_a_pruned_redo_has_ended(harness: ProducerHarness) -> None:
    parent = failed_job(harness)
    made = redo(harness.producer, parent)
    harness.finish_step(made.job_id, State.SUCCEEDED)
    harness.producer.ledger.redis.delete("outbox:{rq}")
    assert harness.producer.ledger.scripts.run("prune", 10**15, 0, made.job_id) == ["PRUNED"]
    assert not redo(harness.producer, parent).duplicate


def test_a_key_is_always_the_same_redo(harness: ProducerHarness) -> None:
    parent = failed_job(harness)
    made = redo(harness.producer, parent, key="k")
    harness.finish_step(made.job_id, State.SUCCEEDED)
    again = redo(harness.producer, parent, key="k")
    assert again == Submission(made.job_id, State.SUCCEEDED, duplicate=True)
    assert redo(harness.producer, parent, key="l").job_id != made.job_id
    for other, prompt in ((parent, "Pan left"), (made.job_id, None)):
        with pytest.raises(KeyConflict):
            redo(harness.producer, other, prompt, key="k")


def test_the_key_of_the_original_job_is_refused(harness: ProducerHarness) -> None:
    parent = failed_job(harness, key="mine")
    with pytest.raises(KeyConflict):
        redo(harness.producer, parent, key="mine")
    assert redo(harness.producer, parent).job_id != parent


def test_redo_in_the_python_api(harness: ProducerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = harness.producer.settings
    monkeypatch.setenv("REDIS_URL", settings.redis.url.get_secret_value())
    close_and_clear_caches()
    try:
        assert get_settings().redis.namespace == settings.redis.namespace
        parent = failed_job(harness)
        made = tasks.redo(parent, "Pan left", key="k")
        assert tasks.redo(parent, "Pan left", key="k").duplicate
        assert tasks.get(made.job_id).prompt == "Pan left"
        with pytest.raises(UnknownId):
            tasks.redo("nope")
    finally:
        close_and_clear_caches()


def test_a_running_job_is_refused(harness: ProducerHarness) -> None:
    job_id = harness.submit()
    fence = harness.claim(job_id)
    harness.producer.ledger.commit(job_id, fence, Commit(State.GENERATING))
    with pytest.raises(ValueError, match="wait for its end"):
        redo(harness.producer, job_id)
