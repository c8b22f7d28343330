"""Leases: pushed on while a step makes progress, let go past its deadline."""

import time

import pytest
from redis import Redis

from worker.leases import Leases
from worker.ledger.ledger import Ledger
from worker.ledger.submissions import NewJob


@pytest.fixture
def ledger(redis: Redis) -> Ledger:
    ledger = Ledger(redis, "t", lease_seconds=30)
    ledger.submit(NewJob(id="j", payload={}, fingerprint="f"))
    ledger.due(1, room=1, admit=1)
    return ledger


def fence(ledger: Ledger) -> int:
    return int(ledger.claim("j", "w1", "n1").record["fence"])


def shrink(ledger: Ledger) -> None:
    """Make the lease look as if it had run for a while."""
    ledger.redis.hset(ledger.key("job", "j"), "lease", 1)


def test_a_beat_pushes_the_lease_on(ledger: Ledger) -> None:
    leases = Leases(ledger)
    with leases.hold("j", fence(ledger), limit=60) as lease:
        shrink(ledger)
        leases.beat()
        assert not lease.lost
    job = ledger.job("j")
    assert job is not None
    assert job.lease > 1


def test_a_step_past_its_deadline_is_let_go_and_aborted(ledger: Ledger) -> None:
    aborted = []
    leases = Leases(ledger)
    with leases.hold("j", fence(ledger), limit=60) as lease:
        lease.abort = lambda: aborted.append(True)
        lease.deadline = time.monotonic() - 1
        shrink(ledger)
        leases.beat()
        leases.beat()
        assert lease.lost
    job = ledger.job("j")
    assert job is not None
    assert (job.lease, aborted) == (1, [True])


def test_a_lease_that_somebody_else_took_is_marked_lost(ledger: Ledger) -> None:
    leases = Leases(ledger)
    with leases.hold("j", fence(ledger), limit=60) as lease:
        shrink(ledger)
        assert ledger.claim("j", "w2", "n2").verdict == "OK"
        leases.beat()
        assert lease.lost


def test_progress_never_goes_past_the_hard_deadline(ledger: Ledger) -> None:
    with Leases(ledger).hold("j", fence(ledger), limit=60) as lease:
        hard = lease.hard_deadline
        lease.progress(1000)
        assert lease.deadline == hard


def test_nothing_is_pushed_after_the_step(ledger: Ledger) -> None:
    leases = Leases(ledger)
    with leases.hold("j", fence(ledger), limit=60):
        pass
    shrink(ledger)
    leases.beat()
    job = ledger.job("j")
    assert job is not None
    assert (len(leases), job.lease) == (0, 1)
