"""Hints that are lost, and hints that reach a worker that takes nothing."""

from tests.unit.worker.ledger.conftest import LEASE, House
from worker.ledger.ledger import DECLINES_PER_LEASE, Commit
from worker.ledger.model.states import State


def test_a_lost_hint_costs_only_the_grace_that_was_asked_for(house: House) -> None:
    house.submit("j")
    assert house.ledger.due(1, room=1, admit=1, redispatch_after=5) == [("j", State.PREPARING)]
    house.later(4.9)
    assert house.ledger.due(1, room=1, admit=1, redispatch_after=5) == []
    house.later(0.1)
    assert house.ledger.due(1, room=1, admit=1, redispatch_after=5) == [("j", State.PREPARING)]


def test_what_an_overloaded_worker_hands_back_comes_up_again_soon(house: House) -> None:
    house.submit("j")
    house.admit()
    assert house.ledger.decline("j") == "OK"
    assert house.ledger.decline("j") == "OK", "a lost reply"
    assert house.admit() == [], "not in the same moment: it may be the only worker"
    house.later(LEASE / DECLINES_PER_LEASE)
    assert house.admit() == ["j"]


def test_a_second_hand_back_puts_nothing_off(house: House) -> None:
    """Two overloaded workers that hand it back by turns would keep it from a third for good."""
    house.submit("j")
    house.admit()
    house.ledger.decline("j")
    house.later(LEASE / DECLINES_PER_LEASE / 2)
    house.ledger.decline("j")
    house.later(LEASE / DECLINES_PER_LEASE / 2 + 0.01)
    assert house.admit() == ["j"]


def test_nothing_is_handed_back_from_under_its_owner(house: House) -> None:
    house.running("j")
    before = house.redis.zscore("agenda:{t}", "j")
    assert house.ledger.decline("j") == "BUSY"
    assert house.redis.zscore("agenda:{t}", "j") == before


def test_a_wait_that_was_asked_for_is_not_cut_short(house: House) -> None:
    fence = house.running("j")
    house.ledger.commit("j", fence, Commit(State.RENDERING, delay=30))
    assert house.ledger.decline("j") == "OK"
    house.later(20)
    assert house.admit() == []


def test_a_job_that_stands_nowhere_is_not_put_on_the_agenda(house: House) -> None:
    house.submit("waiting")
    assert house.ledger.decline("waiting") == "GONE"
    assert house.ledger.decline("unknown") == "GONE"
    assert house.places("waiting") == ["flow"]
