"""A decision about a paid message is made with the journal under which it was paid."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from config.settings import Settings
from tasks.producer import actions
from tasks.producer.producer import Producer
from tests.unit.tasks.conftest import ProducerHarness
from worker.journal.stores import JournalFailed
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.payments import Payments


@pytest.fixture
def elsewhere(settings: Settings, tmp_path: Path) -> Iterator[Producer]:
    """A producer in another folder, whose default media store and journal are others."""
    media = (tmp_path / "elsewhere" / "media").as_uri()
    storage = settings.storage.model_copy(update={"media_url": media})
    producer = Producer.open(settings.model_copy(update={"storage": storage}))
    yield producer
    producer.ledger.redis.close()


@pytest.fixture
def held(harness: ProducerHarness) -> str:
    """A job that is held over a message of unknown outcome."""
    producer, job_id = harness.producer, harness.submit()
    ledger, payments = producer.ledger, Payments(producer.ledger)
    fence = harness.claim(job_id)
    ledger.update_facts(job_id, fence, {"account": "a", "session_id": "s"})
    payments.record_balance("a", read_at=1, available=900, frozen=0, total=900)
    intent = payments.begin(
        *(job_id, fence),
        turn=1,
        call=f"{job_id}:1:1:x",
        cost=1,
        cap=9,
        session_id="s",
        attempt=1,
        journal_id=producer.journal.id(),
    )
    assert intent.verdict == "OK"
    hold = Commit(State.HELD, reason=Reason.OUTCOME_UNKNOWN, resume=State.SETTLING)
    assert ledger.commit(job_id, fence, hold)
    return job_id


@pytest.mark.parametrize("decision", ["pay again", "cancel"])
def test_a_process_with_another_journal_decides_nothing(
    harness: ProducerHarness, elsewhere: Producer, held: str, decision: str
) -> None:
    """It could not close the message, which a frozen worker might still send."""
    decisions = {
        "cancel": lambda: actions.cancel(elsewhere, held, confirmed=True),
        "pay again": lambda: actions.release(elsewhere, held, mode="pay_again", who="me"),
    }
    with pytest.raises(JournalFailed, match="not the one of the records") as caught:
        decisions[decision]()
    assert "REELQUEUE_JOURNAL_URL" in caught.value.remedy
    job = harness.producer.ledger.job(held)
    assert job is not None
    assert (job.state, job.turn) == (State.HELD, 1)
    assert not (harness.folder / "elsewhere" / "media" / ".journal" / "rq" / "id").exists()


def test_the_process_with_the_journal_decides(harness: ProducerHarness, held: str) -> None:
    assert actions.release(harness.producer, held, mode="pay_again", who="me").changed == 1
