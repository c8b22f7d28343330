"""Batches that may not start before a time."""

from tests.unit.worker.ledger.conftest import CLOCK, LEASE, LedgerHarness
from worker.ledger.ledger import Ledger
from worker.ledger.model.states import State
from worker.ledger.model.steps import Commit

NOW = 1_000_000_000
"""The clock of the harness at its start, in ms."""


def scheduled(harness: LedgerHarness, not_before: int) -> None:
    """Open the batch "b" with a start time, and submit two jobs of different priority."""
    harness.ledger.open_batch("b", "b", NOW)
    harness.ledger.schedule("b", not_before)
    harness.submit("j1", batch_id="b")
    harness.submit("j2", priority="high", batch_id="b")


def test_no_job_starts_before_the_time_and_all_start_then(harness: LedgerHarness) -> None:
    scheduled(harness, NOW + 60_000)
    harness.submit("other")
    assert harness.admit() == ["other"]
    harness.later(59)
    assert harness.admit() == ["other"], "its wake-up message comes again; nothing else starts"
    restarted = LedgerHarness(
        harness.redis,
        Ledger(harness.redis, "t", lease_seconds=LEASE, clock=CLOCK),
        harness.payments,
    )
    restarted.later(1)
    assert sorted(restarted.admit()) == ["j1", "j2"]
    assert not harness.redis.exists("scheduled:{t}")


def test_the_time_is_that_of_the_server_whatever_the_clock_of_the_records(
    harness: LedgerHarness,
) -> None:
    harness.redis.hset("meta:{t}", "clock_offset", 3_600_000)
    scheduled(harness, NOW + 60_000)
    assert harness.admit() == []
    harness.later(60)
    assert sorted(harness.admit()) == ["j1", "j2"]


def test_neither_resuming_nor_a_pilot_starts_it_earlier(harness: LedgerHarness) -> None:
    scheduled(harness, NOW + 60_000)
    harness.ledger.pause("b")
    harness.ledger.resume("b")
    assert harness.admit() == []
    harness.ledger.set_pilot("b", 1)
    assert harness.admit() == []
    harness.later(60)
    assert len(harness.admit()) == 1
    batch = harness.ledger.batch("b")
    assert batch is not None
    assert (batch.paused, batch.not_before) == (True, NOW + 60_000)


def test_a_paused_batch_stays_paused_at_its_time(harness: LedgerHarness) -> None:
    scheduled(harness, NOW + 60_000)
    harness.ledger.pause("b")
    harness.later(60)
    assert harness.admit() == []
    harness.ledger.resume("b")
    assert sorted(harness.admit()) == ["j1", "j2"]


def test_a_later_time_keeps_the_waiting_jobs_and_lets_the_running_ones_go_on(
    harness: LedgerHarness,
) -> None:
    scheduled(harness, 0)
    assert harness.admit(1) == ["j2"]
    fence = harness.claim("j2")
    harness.ledger.schedule("b", NOW + 60_000)
    assert harness.admit() == []
    assert harness.ledger.commit("j2", fence, Commit(State.GENERATING))
    assert harness.admit() == ["j2"]
    harness.ledger.schedule("b", NOW)
    assert "j1" in harness.admit()


def test_a_job_that_is_queued_again_waits_too(harness: LedgerHarness) -> None:
    scheduled(harness, 0)
    for job_id in harness.admit():
        end = Commit(State.FAILED)
        assert harness.ledger.commit(job_id, harness.claim(job_id), end)
    harness.ledger.schedule("b", NOW + 60_000)
    harness.ledger.retry("j1")
    assert harness.admit() == []
    harness.later(60)
    assert harness.admit() == ["j1"]


def test_a_batch_that_is_not_there_is_not_scheduled(harness: LedgerHarness) -> None:
    harness.ledger.schedule("none", NOW + 60_000)
    assert list(harness.redis.scan_iter("scheduled:*")) == []
