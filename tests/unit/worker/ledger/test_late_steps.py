"""How long a job lay with nobody: kept at the claim that took it over, for whoever measures."""

from tests.unit.worker.ledger.conftest import LEASE, House


def late(house: House) -> dict[str, str]:
    job = house.ledger.job("j")
    assert job is not None
    return {
        name: value.rpartition(" ")[0]
        for name, value in job.facts.items()
        if name.startswith("late:")
    }


def test_a_job_that_nobody_lost_was_never_late(house: House) -> None:
    house.submit("j")
    house.admit()
    house.later(3 * LEASE)
    house.claim("j")
    assert late(house) == {}


def test_the_time_from_the_end_of_the_lease_to_the_next_claim(house: House) -> None:
    house.running("j")
    house.later(LEASE + 1.5)
    assert house.claim("j", "w2", "n2") == 2
    house.later(LEASE + 4)
    house.claim("j", "w3", "n3")
    assert late(house) == {"late:2": "1500 1500", "late:3": "4000 4000"}


def test_the_grace_after_an_outage_is_told_apart(house: House) -> None:
    """Nobody ticked meanwhile: the first tick gives owners one lease to show themselves."""
    house.running("j")
    house.later(LEASE + 2)
    house.admit()
    house.later(LEASE + 3)
    house.claim("j", "w2", "n2")
    assert late(house) == {"late:2": f"{int(LEASE + 5) * 1000} 3000"}


def test_a_claim_within_the_grace_owes_nothing(house: House) -> None:
    house.running("j")
    house.later(LEASE + 2)
    house.admit()
    house.later(1)
    house.claim("j", "w2", "n2")
    assert late(house) == {"late:2": "3000 0"}


def test_the_moment_of_the_claim_is_kept(house: House) -> None:
    house.running("j")
    house.later(LEASE + 1)
    house.claim("j", "w2", "n2")
    job = house.ledger.job("j")
    assert job is not None
    assert job.facts["late:2"].split()[2] == house.redis.get("test:clock")
