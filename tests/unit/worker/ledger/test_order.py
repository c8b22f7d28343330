"""Order among the flows, pilots, and changes to a whole batch."""

import pytest

from tests.support.ledger_access import submit_many
from tests.unit.worker.ledger.conftest import House
from worker.ledger.ledger import Commit
from worker.ledger.model.batches import read_pace
from worker.ledger.model.states import State
from worker.ledger.model.submissions import NewJob
from worker.ledger.pages import PAGE_SIZE


def fill(house: House, batch_id: str, jobs: int, priority: str = "normal") -> None:
    house.ledger.open_batch(batch_id, batch_id, 1)
    submit_many(
        house.ledger,
        (
            NewJob(
                id=f"{batch_id}-{n}",
                payload={},
                fingerprint="f",
                batch_id=batch_id,
                row=n,
                priority=priority,
            )
            for n in range(jobs)
        ),
    )
    house.ledger.seal_batch(batch_id)


def handed_out(house: House, n: int) -> list[str]:
    """The flows of the next jobs, one at a time, each gone before the next is asked for."""
    found = []
    for _ in range(n):
        ((job_id, _),) = house.ledger.due(1, room=1, admit=1)
        found.append(job_id.rpartition("-")[0])
        fence = house.claim(job_id)
        house.ledger.commit(job_id, fence, Commit(State.SUCCEEDED))
    return found


def test_a_small_batch_behind_a_large_one_has_its_share_at_once(house: House) -> None:
    fill(house, "large", 300)
    handed_out(house, 100)
    fill(house, "small", 10)
    order = handed_out(house, 22)
    assert order.count("small") == 10
    assert "small" in order[:2]


@pytest.mark.parametrize(("priority", "share"), [("high", 16), ("normal", 4), ("low", 1)])
def test_priority_is_the_weight(house: House, priority: str, share: int) -> None:
    fill(house, "other", 200)
    fill(house, "mine", 200, priority)
    order = handed_out(house, 100)
    assert order.count("mine") == pytest.approx(100 * share / (share + 4), abs=3)


def test_a_flow_that_fills_up_anew_has_no_more_than_its_share(house: House) -> None:
    """One job at a time, each submitted when the one before it was taken."""
    fill(house, "other", 100)
    house.submit("single-0", "low")
    taken = []
    for n in range(1, 51):
        taken += handed_out(house, 1)
        if taken[-1] == "single":
            house.submit(f"single-{n}", "low")
    assert taken.count("single") == pytest.approx(50 / 5, abs=2)


def test_a_pilot_hands_out_so_many_and_pauses_the_batch(house: House) -> None:
    house.ledger.open_batch("b", "b", 1)
    house.ledger.set_pilot("b", 3)
    fill(house, "b", 10)
    assert len(house.admit()) == 3
    batch = house.ledger.batch("b")
    assert batch is not None
    assert (batch.paused, batch.running, batch.open) == (True, 3, 10)
    assert house.admit() == []
    house.ledger.resume("b")
    assert len(house.admit()) == 7


def test_a_pilot_of_all_there_is_leaves_nothing_paused(house: House) -> None:
    house.ledger.open_batch("b", "b", 1)
    house.ledger.set_pilot("b", 3)
    fill(house, "b", 3)
    assert len(house.admit()) == 3
    batch = house.ledger.batch("b")
    assert batch is not None
    assert not batch.paused


def test_resuming_early_ends_a_pilot(house: House) -> None:
    house.ledger.open_batch("b", "b", 1)
    house.ledger.set_pilot("b", 3)
    fill(house, "b", 10)
    assert len(house.admit(2)) == 2
    house.ledger.resume("b")
    assert len(house.admit()) == 8


def test_a_job_of_a_paused_batch_in_the_single_lane_starts(house: House) -> None:
    fill(house, "b", 2)
    house.ledger.pause("b")
    house.ledger.submit(
        NewJob(id="again", payload={}, fingerprint="f", batch_id="b", lane="single", parent_id="p")
    )
    assert house.admit() == ["again"]
    batch = house.ledger.batch("b")
    assert batch is not None
    assert batch.total == 3


def test_cancelling_what_waits_takes_every_page_and_nothing_else(house: House) -> None:
    fill(house, "b", PAGE_SIZE + 10)
    fill(house, "other", 2)
    (running,) = house.admit(1)
    verdicts = list(house.ledger.cancel_waiting("b"))
    assert verdicts == ["CANCELLED"] * (PAGE_SIZE + 9)
    assert house.places("b-400") == ["end"]
    assert house.places(running) == ["agenda"]
    assert house.places("other-0") == ["flow"]
    batch = house.ledger.batch("b")
    assert batch is not None
    assert (batch.open, batch.counts[State.CANCELLED]) == (1, PAGE_SIZE + 9)
    pages = list(house.ledger.row_states("b"))
    assert [len(page) for page in pages] == [PAGE_SIZE, 10]
    assert sum(job.state is State.CANCELLED for page in pages for job in page) == PAGE_SIZE + 9


def test_what_has_paid_and_waits_stays_in_its_flow(house: House) -> None:
    """A person let it pay again: the first message may still become a clip."""
    fill(house, "b", 2)
    house.redis.hset("job:{t}:b-0", "paid", "1")
    assert list(house.ledger.cancel_waiting("b")) == ["REQUESTED", "CANCELLED"]
    assert house.places("b-0") == ["flow"]
    assert house.redis.hget("job:{t}:b-0", "cancel_requested") == "1"


def test_the_pace_is_a_rolling_mean_of_what_clips_took(house: House) -> None:
    assert house.ledger.pace().clips == 0
    for n, seconds in enumerate((10, 30)):
        house.submit(f"j{n}")
        house.admit()
        fence = house.claim(f"j{n}")
        house.later(seconds)
        house.ledger.commit(f"j{n}", fence, Commit(State.RENDERING))
        fence = house.claim(f"j{n}", nonce="n2")
        house.later(5)
        house.ledger.commit(f"j{n}", fence, Commit(State.SUCCEEDED))
    pace = house.ledger.pace()
    assert (pace.clips, pace.admitted_seconds, pace.clip_seconds) == (2, 20, 25)


def test_places_are_known_while_somebody_ticks() -> None:
    assert read_pace({}, "7", "1000", 2000).max_admitted == 7
    assert read_pace({}, "7", "1000", 100_000).max_admitted == 0
    assert read_pace({}, None, None, 100_000).max_admitted == 0
