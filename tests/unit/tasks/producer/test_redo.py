"""Clips made anew: never two for one wish, and as many as are wished for."""

import pytest

import tasks
from config.settings import get_settings
from tasks.producer import queries
from tasks.producer.redo import redo
from tasks.producer.submissions import Submission
from tasks.schema.errors import KeyConflict, UnknownId
from tests.support.commands import close_and_clear_caches
from tests.unit.tasks.conftest import ProducerHarness
from worker.ledger.ledger import Commit
from worker.ledger.model.states import Reason, State


def parent_of(harness: ProducerHarness, **fields: object) -> str:
    """A job at its end."""
    job_id = harness.submit(**fields)
    harness.end(job_id, State.FAILED, reason=Reason.BAD_CLIP)
    return job_id


def test_the_same_asked_for_again_is_the_job_that_was_made(harness: ProducerHarness) -> None:
    parent = parent_of(harness)
    made = redo(harness.producer, parent, "Pan left")
    assert made == Submission(made.job_id, State.QUEUED, duplicate=False)
    assert redo(harness.producer, parent, "Pan left") == Submission(
        made.job_id, State.QUEUED, duplicate=True
    )
    assert redo(harness.producer, parent, "Pan right").job_id != made.job_id, "other words"
    assert redo(harness.producer, parent).job_id not in {made.job_id, parent}, "the same again"


def test_a_held_one_is_not_at_its_end(harness: ProducerHarness) -> None:
    parent = parent_of(harness)
    made = redo(harness.producer, parent)
    harness.end(made.job_id, State.HELD, reason=Reason.CREDITS)
    assert redo(harness.producer, parent) == Submission(made.job_id, State.HELD, duplicate=True)


def test_what_is_at_its_end_can_be_made_anew_any_number_of_times(harness: ProducerHarness) -> None:
    parent = parent_of(harness)
    made = []
    for _ in range(3):
        made.append(redo(harness.producer, parent).job_id)
        harness.end(made[-1], State.SUCCEEDED)
    assert len({parent, *made}) == 4
    last = redo(harness.producer, made[-1])
    assert not last.duplicate
    assert queries.get(harness.producer, last.job_id).parent_id == made[-1]


def test_what_was_pruned_is_at_its_end(harness: ProducerHarness) -> None:
    parent = parent_of(harness)
    made = redo(harness.producer, parent)
    harness.end(made.job_id, State.SUCCEEDED)
    harness.producer.ledger.redis.delete("outbox:{rq}")
    assert harness.producer.ledger.scripts.run("prune", 10**15, 0, made.job_id) == ["PRUNED"]
    assert not redo(harness.producer, parent).duplicate


def test_a_key_names_one_new_clip_for_good(harness: ProducerHarness) -> None:
    parent = parent_of(harness)
    made = redo(harness.producer, parent, key="k")
    harness.end(made.job_id, State.SUCCEEDED)
    again = redo(harness.producer, parent, key="k")
    assert again == Submission(made.job_id, State.SUCCEEDED, duplicate=True)
    assert redo(harness.producer, parent, key="l").job_id != made.job_id
    for other, prompt in ((parent, "Pan left"), (made.job_id, None)):
        with pytest.raises(KeyConflict):
            redo(harness.producer, other, prompt, key="k")


def test_the_key_of_the_job_itself_stays_its_own(harness: ProducerHarness) -> None:
    parent = parent_of(harness, key="mine")
    with pytest.raises(KeyConflict):
        redo(harness.producer, parent, key="mine")
    assert redo(harness.producer, parent).job_id != parent


def test_from_python(harness: ProducerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = harness.producer.settings
    monkeypatch.setenv("REDIS_URL", settings.redis.url.get_secret_value())
    close_and_clear_caches()
    try:
        assert get_settings().redis.namespace == settings.redis.namespace
        parent = parent_of(harness)
        made = tasks.redo(parent, "Pan left", key="k")
        assert tasks.redo(parent, "Pan left", key="k").duplicate
        assert tasks.get(made.job_id).prompt == "Pan left"
        with pytest.raises(UnknownId):
            tasks.redo("nope")
    finally:
        close_and_clear_caches()


def test_one_that_is_under_way_is_waited_for(harness: ProducerHarness) -> None:
    job_id = harness.submit()
    fence = harness.take(job_id)
    harness.producer.ledger.commit(job_id, fence, Commit(State.GENERATING))
    with pytest.raises(ValueError, match="wait for its end"):
        redo(harness.producer, job_id)
