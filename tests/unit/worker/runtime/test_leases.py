"""Leases: extended while a step makes progress, and given up after its deadline."""

import time

import pytest
from redis import Redis
from structlog.testing import capture_logs

from worker.ledger.ledger import Ledger
from worker.ledger.model.states import State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob
from worker.runtime.leases import Leases


@pytest.fixture
def ledger(redis: Redis) -> Ledger:
    ledger = Ledger(redis, "t", lease_seconds=30)
    ledger.submit(NewJob(id="j", payload={}, fingerprint="f"))
    ledger.due(1, room=1, admit=1)
    return ledger


def fence(ledger: Ledger) -> str:
    return ledger.claim("j", "w1", "n1").fence


def shorten(ledger: Ledger) -> None:
    """Shorten the lease in the record, as if time had passed."""
    ledger.redis.hset(ledger.key("job", "j"), "lease", 1)


def test_a_heartbeat_extends_the_lease(ledger: Ledger) -> None:
    leases = Leases(ledger)
    with leases.hold("j", fence(ledger), limit=60) as lease:
        shorten(ledger)
        leases.heartbeat()
        assert not lease.lost
    job = ledger.job("j")
    assert job is not None
    assert job.lease > 1


def test_a_step_past_its_deadline_is_given_up_and_aborted(ledger: Ledger) -> None:
    aborted = []
    leases = Leases(ledger)
    with leases.hold("j", fence(ledger), limit=60) as lease:
        lease.abort = lambda: aborted.append(True)
        lease.deadline = time.monotonic() - 1
        shorten(ledger)
        leases.heartbeat()
        leases.heartbeat()
        assert lease.lost
    job = ledger.job("j")
    assert job is not None
    assert (job.lease, aborted) == (1, [True])


def test_a_lease_that_another_worker_took_is_marked_lost(ledger: Ledger) -> None:
    leases = Leases(ledger)
    with leases.hold("j", fence(ledger), limit=60) as lease:
        shorten(ledger)
        assert ledger.claim("j", "w2", "n2").verdict == "OK"
        leases.heartbeat()
        assert lease.lost


def test_a_step_that_is_being_committed_has_not_lost_its_lease(ledger: Ledger) -> None:
    """The heartbeat comes after the commit is recorded and before its reply is received."""
    leases = Leases(ledger)
    with leases.hold("j", fence(ledger), limit=60) as lease, capture_logs() as logs:
        lease.is_ending = True
        assert ledger.commit("j", lease.fence, Commit(State.RENDERING))
        leases.heartbeat()
    assert (lease.lost, logs) == (False, [])


def test_a_lost_lease_is_logged_once(ledger: Ledger) -> None:
    leases = Leases(ledger)
    with leases.hold("j", fence(ledger), limit=60), capture_logs() as logs:
        ledger.redis.hset(ledger.key("job", "j"), "owner", "")
        leases.heartbeat()
        leases.heartbeat()
    assert [log["event"] for log in logs] == ["lease lost"]


def test_a_drain_takes_at_most_the_time_of_the_longest_step(ledger: Ledger) -> None:
    leases = Leases(ledger)
    assert leases.max_remaining_seconds() == 0
    with leases.hold("a", "1:n", limit=60) as short, leases.hold("b", "1:n", limit=600) as long:
        long.extend_deadline(idle_limit=5)
        assert 60 < leases.max_remaining_seconds() <= 600, (
            "progress may move the deadline up to the hard one"
        )
        long.lost = True
        assert 0 < leases.max_remaining_seconds() <= 60
        short.lost = True
        assert leases.max_remaining_seconds() == 0
    with leases.hold("c", "1:n", limit=-1):
        assert leases.max_remaining_seconds() == 0


def test_progress_never_moves_the_deadline_past_the_hard_one(ledger: Ledger) -> None:
    with Leases(ledger).hold("j", fence(ledger), limit=60) as lease:
        hard = lease.hard_deadline
        lease.extend_deadline(1000)
        assert lease.deadline == hard


def test_a_lease_is_not_extended_after_its_step(ledger: Ledger) -> None:
    leases = Leases(ledger)
    with leases.hold("j", fence(ledger), limit=60):
        pass
    shorten(ledger)
    leases.heartbeat()
    job = ledger.job("j")
    assert job is not None
    assert (len(leases), job.lease) == (0, 1)
