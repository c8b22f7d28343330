"""Which jobs the ticker gets, and when."""

from tests.unit.worker.ledger.conftest import LEASE, LedgerHarness


def test_due_returns_no_more_jobs_than_there_is_room_for(harness: LedgerHarness) -> None:
    for n in range(5):
        harness.submit(f"j{n}")
    assert len(harness.ledger.due(100, room=2, admit=100)) == 2
    assert harness.ledger.due(100, room=0, admit=100) == []
    assert len(harness.ledger.due(100, room=100, admit=4)) == 2, "two were admitted before"


def test_due_returns_a_job_again_that_no_worker_claims(harness: LedgerHarness) -> None:
    harness.submit("j")
    assert harness.admit() == ["j"]
    assert harness.admit() == [], "not before the redispatch time"
    harness.later(LEASE + 1)
    harness.admit()  # the first tick after an outage starts the grace period
    assert harness.places("j") == ["agenda"]
    harness.later(LEASE + 1)
    assert harness.admit() == ["j"]


def test_priorities_share_starts_by_weight(harness: LedgerHarness) -> None:
    for n in range(40):
        harness.submit(f"h{n}", "high")
        harness.submit(f"n{n}", "normal")
        harness.submit(f"l{n}", "low")
    first = harness.admit(21)
    assert sum(j[0] == "h" for j in first) in (15, 16, 17)
    assert sum(j[0] == "n" for j in first) in (3, 4, 5)
    assert sum(j[0] == "l" for j in first) in (1, 2)


def test_a_small_batch_behind_a_large_one_starts_immediately(harness: LedgerHarness) -> None:
    for n in range(200):
        harness.submit(f"big{n}", batch_id="big")
    harness.admit(100)
    for n in range(3):
        harness.submit(f"small{n}", batch_id="small")
    next_ones = harness.ledger.due(8, room=8, admit=200)
    assert sum(job_id.startswith("small") for job_id, _ in next_ones) == 3


def test_a_paused_batch_starts_no_job_and_loses_none(harness: LedgerHarness) -> None:
    harness.ledger.open_batch("b", "name", 1)
    harness.submit("j1", batch_id="b")
    assert harness.ledger.pause("b")
    harness.submit("j2", batch_id="b")
    assert harness.admit() == []
    assert harness.ledger.resume("b")
    assert harness.admit() == ["j1", "j2"]
    assert not harness.ledger.pause("nobody")


def test_jobs_are_not_taken_over_right_after_an_outage(harness: LedgerHarness) -> None:
    harness.submit("j")
    harness.admit()
    harness.claim("j")
    harness.later(5 * LEASE)  # no tick and no heartbeat
    assert harness.admit() == []
    assert harness.ledger.heartbeat([("j", "1:n1")]) == [True]
    harness.later(LEASE / 2)
    assert harness.admit() == [], "the owner lives"
