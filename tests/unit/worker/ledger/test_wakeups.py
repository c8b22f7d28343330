"""Wake-up messages that are lost, or that reach a worker that declines the job."""

from tests.unit.worker.ledger.conftest import LEASE, LedgerHarness
from worker.ledger.ledger import DECLINES_PER_LEASE
from worker.ledger.model.states import State
from worker.ledger.model.steps import Commit


def test_a_lost_wakeup_message_costs_only_the_redispatch_time(harness: LedgerHarness) -> None:
    harness.submit("j")
    assert harness.ledger.due(1, room=1, admit=1, redispatch_after=5) == [("j", State.PREPARING)]
    harness.later(4.9)
    assert harness.ledger.due(1, room=1, admit=1, redispatch_after=5) == []
    harness.later(0.1)
    assert harness.ledger.due(1, room=1, admit=1, redispatch_after=5) == [("j", State.PREPARING)]


def test_a_declined_job_is_due_again_soon(harness: LedgerHarness) -> None:
    harness.submit("j")
    harness.admit()
    assert harness.ledger.decline("j") == "OK"
    assert harness.ledger.decline("j") == "OK", "a lost reply"
    assert harness.admit() == [], "not in the same moment: it may be the only worker"
    harness.later(LEASE / DECLINES_PER_LEASE)
    assert harness.admit() == ["j"]


def test_declining_a_job_twice_does_not_delay_it(harness: LedgerHarness) -> None:
    """Otherwise two overloaded workers that decline it in turn would keep it from a third."""
    harness.submit("j")
    harness.admit()
    harness.ledger.decline("j")
    harness.later(LEASE / DECLINES_PER_LEASE / 2)
    harness.ledger.decline("j")
    harness.later(LEASE / DECLINES_PER_LEASE / 2 + 0.01)
    assert harness.admit() == ["j"]


def test_an_owned_job_cannot_be_declined(harness: LedgerHarness) -> None:
    harness.running("j")
    before = harness.redis.zscore("agenda:{t}", "j")
    assert harness.ledger.decline("j") == "BUSY"
    assert harness.redis.zscore("agenda:{t}", "j") == before


def test_declining_a_job_does_not_shorten_its_delay(harness: LedgerHarness) -> None:
    fence = harness.running("j")
    harness.ledger.commit("j", fence, Commit(State.RENDERING, delay=30))
    assert harness.ledger.decline("j") == "OK"
    harness.later(20)
    assert harness.admit() == []


def test_a_job_that_is_not_running_cannot_be_declined(harness: LedgerHarness) -> None:
    harness.submit("waiting")
    assert harness.ledger.decline("waiting") == "GONE"
    assert harness.ledger.decline("unknown") == "GONE"
    assert harness.places("waiting") == ["flow"]
