"""Order among the flows, pilots, and changes to a whole batch."""

import pytest

from tests.support.interleaved import interleaved
from tests.support.ledger_access import submit_many
from tests.support.valkey import Valkey
from tests.unit.worker.ledger.conftest import CLOCK, LEASE, LedgerHarness
from worker.ledger.ledger import Ledger
from worker.ledger.model.batches import read_pace
from worker.ledger.model.states import State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob
from worker.ledger.pages import PAGE_SIZE


def fill(harness: LedgerHarness, batch_id: str, jobs: int, priority: str = "normal") -> None:
    harness.ledger.open_batch(batch_id, batch_id, 1)
    submit_many(
        harness.ledger,
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
    harness.ledger.seal_batch(batch_id)


def handed_out(harness: LedgerHarness, n: int) -> list[str]:
    """Return the flows of the next jobs, each dispatched and ended before the next."""
    found = []
    for _ in range(n):
        ((job_id, _),) = harness.ledger.due(1, room=1, admit=1)
        found.append(job_id.rpartition("-")[0])
        fence = harness.claim(job_id)
        harness.ledger.commit(job_id, fence, Commit(State.SUCCEEDED))
    return found


def test_a_small_batch_behind_a_large_one_has_its_share_immediately(harness: LedgerHarness) -> None:
    fill(harness, "large", 300)
    handed_out(harness, 100)
    fill(harness, "small", 10)
    order = handed_out(harness, 22)
    assert order.count("small") == 10
    assert "small" in order[:2]


@pytest.mark.parametrize(("priority", "share"), [("high", 16), ("normal", 4), ("low", 1)])
def test_a_flow_starts_jobs_by_the_weight_of_its_priority(
    harness: LedgerHarness, priority: str, share: int
) -> None:
    fill(harness, "other", 200)
    fill(harness, "mine", 200, priority)
    order = handed_out(harness, 100)
    assert order.count("mine") == pytest.approx(100 * share / (share + 4), abs=3)


def test_a_flow_that_is_refilled_has_no_more_than_its_share(harness: LedgerHarness) -> None:
    """Each job is submitted when the one before it was dispatched."""
    fill(harness, "other", 100)
    harness.submit("single-0", "low")
    taken = []
    for n in range(1, 51):
        taken += handed_out(harness, 1)
        if taken[-1] == "single":
            harness.submit(f"single-{n}", "low")
    assert taken.count("single") == pytest.approx(50 / 5, abs=2)


def test_a_pilot_dispatches_n_jobs_and_pauses_the_batch(harness: LedgerHarness) -> None:
    harness.ledger.open_batch("b", "b", 1)
    harness.ledger.set_pilot("b", 3)
    fill(harness, "b", 10)
    assert len(harness.admit()) == 3
    batch = harness.ledger.batch("b")
    assert batch is not None
    assert (batch.paused, batch.running, batch.open) == (True, 3, 10)
    assert harness.admit() == []
    harness.ledger.resume("b")
    assert len(harness.admit()) == 7


def test_a_pilot_of_the_whole_batch_does_not_pause_it(harness: LedgerHarness) -> None:
    harness.ledger.open_batch("b", "b", 1)
    harness.ledger.set_pilot("b", 3)
    fill(harness, "b", 3)
    assert len(harness.admit()) == 3
    batch = harness.ledger.batch("b")
    assert batch is not None
    assert not batch.paused


def test_a_ticker_between_two_commands_starts_no_more_than_the_pilot(
    harness: LedgerHarness, valkey: Valkey
) -> None:
    """A batch that waits is resumed for a pilot: what starts beside it would be paid."""
    fill(harness, "b", 10)
    harness.ledger.pause("b")
    client = interleaved(valkey.url, harness.admit)
    slow = Ledger(client, "t", lease_seconds=LEASE, clock=CLOCK)
    slow.set_pilot("b", 3)
    harness.admit()
    batch = harness.ledger.batch("b")
    assert batch is not None
    assert (batch.paused, batch.running) == (True, 3)


def test_resuming_a_batch_ends_its_pilot(harness: LedgerHarness) -> None:
    harness.ledger.open_batch("b", "b", 1)
    harness.ledger.set_pilot("b", 3)
    fill(harness, "b", 10)
    assert len(harness.admit(2)) == 2
    harness.ledger.resume("b")
    assert len(harness.admit()) == 8


def test_a_job_of_a_paused_batch_in_the_flow_of_the_single_jobs_starts(
    harness: LedgerHarness,
) -> None:
    fill(harness, "b", 2)
    harness.ledger.pause("b")
    harness.ledger.submit(
        NewJob(
            id="again", payload={}, fingerprint="f", batch_id="b", flow_name="single", parent_id="p"
        )
    )
    assert harness.admit() == ["again"]
    batch = harness.ledger.batch("b")
    assert batch is not None
    assert batch.total == 3


def test_cancelling_waiting_jobs_cancels_all_pages_and_no_other_jobs(
    harness: LedgerHarness,
) -> None:
    fill(harness, "b", PAGE_SIZE + 10)
    fill(harness, "other", 2)
    (running,) = harness.admit(1)
    verdicts = list(harness.ledger.cancel_waiting("b"))
    assert verdicts == ["CANCELLED"] * (PAGE_SIZE + 9)
    assert harness.places("b-400") == ["end"]
    assert harness.places(running) == ["agenda"]
    assert harness.places("other-0") == ["flow"]
    batch = harness.ledger.batch("b")
    assert batch is not None
    assert (batch.open, batch.counts[State.CANCELLED]) == (1, PAGE_SIZE + 9)
    pages = list(harness.ledger.row_states("b"))
    assert [len(page) for page in pages] == [PAGE_SIZE, 10]
    assert sum(job.state is State.CANCELLED for page in pages for job in page) == PAGE_SIZE + 9


def test_a_waiting_job_that_has_paid_stays_in_its_flow(harness: LedgerHarness) -> None:
    """It was released to pay again: its first message may still yield a clip."""
    fill(harness, "b", 2)
    harness.redis.hset("job:{t}:b-0", "paid", "1")
    assert list(harness.ledger.cancel_waiting("b")) == ["CONTINUES", "CANCELLED"]
    assert harness.places("b-0") == ["flow"]
    assert harness.redis.hget("job:{t}:b-0", "cancel_requested") == "1"


def test_the_pace_is_a_rolling_mean_over_recent_clips(harness: LedgerHarness) -> None:
    assert harness.ledger.pace().clips == 0
    for n, seconds in enumerate((10, 30)):
        harness.submit(f"j{n}")
        harness.admit()
        fence = harness.claim(f"j{n}")
        harness.later(seconds)
        harness.ledger.commit(f"j{n}", fence, Commit(State.RENDERING))
        fence = harness.claim(f"j{n}", nonce="n2")
        harness.later(5)
        harness.ledger.commit(f"j{n}", fence, Commit(State.SUCCEEDED))
    pace = harness.ledger.pace()
    assert (pace.clips, pace.admitted_seconds, pace.clip_seconds) == (2, 20, 25)


def test_the_limit_of_admitted_jobs_is_known_while_a_ticker_runs() -> None:
    assert read_pace({}, "7", "1000", 2000).max_admitted == 7
    assert read_pace({}, "7", "1000", 100_000).max_admitted == 0
    assert read_pace({}, None, None, 100_000).max_admitted == 0
