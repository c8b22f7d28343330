"""A claim that takes a job over records how long the job had no live owner."""

from tests.unit.worker.ledger.conftest import LEASE, LedgerHarness


def late(harness: LedgerHarness) -> dict[str, str]:
    job = harness.ledger.job("j")
    assert job is not None
    return {
        name: value.rpartition(" ")[0]
        for name, value in job.facts.items()
        if name.startswith("late:")
    }


def test_a_job_whose_lease_never_ran_out_records_nothing(harness: LedgerHarness) -> None:
    harness.submit("j")
    harness.admit()
    harness.later(3 * LEASE)
    harness.claim("j")
    assert late(harness) == {}


def test_a_takeover_records_the_time_since_the_end_of_the_lease(harness: LedgerHarness) -> None:
    harness.running("j")
    harness.later(LEASE + 1.5)
    assert harness.claim("j", "w2", "n2") == "2:n2"
    harness.later(LEASE + 4)
    harness.claim("j", "w3", "n3")
    assert late(harness) == {"late:2": "1500 1500", "late:3": "4000 4000"}


def test_the_grace_period_after_an_outage_is_recorded_apart(harness: LedgerHarness) -> None:
    """Without a tick in between, the first tick gives owners one more lease."""
    harness.running("j")
    harness.later(LEASE + 2)
    harness.admit()
    harness.later(LEASE + 3)
    harness.claim("j", "w2", "n2")
    assert late(harness) == {"late:2": f"{int(LEASE + 5) * 1000} 3000"}


def test_a_takeover_within_the_grace_period_is_not_late(harness: LedgerHarness) -> None:
    harness.running("j")
    harness.later(LEASE + 2)
    harness.admit()
    harness.later(1)
    harness.claim("j", "w2", "n2")
    assert late(harness) == {"late:2": "3000 0"}


def test_a_takeover_records_its_time(harness: LedgerHarness) -> None:
    harness.running("j")
    harness.later(LEASE + 1)
    harness.claim("j", "w2", "n2")
    job = harness.ledger.job("j")
    assert job is not None
    assert job.facts["late:2"].split()[2] == harness.redis.get("test:clock")
