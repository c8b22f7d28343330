"""A ledger with a clock that only the tests move."""

from dataclasses import dataclass

import pytest
from redis import Redis

from worker.ledger.ledger import LEASE_MARGIN_MS, Ledger
from worker.ledger.model.states import State
from worker.ledger.model.steps import Commit, NextClaim, commit_arguments
from worker.ledger.model.submissions import NewJob
from worker.ledger.payments import PaidAttempt, Payments

pytest.register_assert_rewrite(
    "tests.unit.worker.ledger.machine", "tests.unit.worker.ledger.record_checks"
)

LEASE = 30.0
CLOCK = "local function clock() return tonumber(redis.call('GET', 'test:clock')) end"


@dataclass
class LedgerHarness:
    """A ledger, its payments, and a clock that can be moved."""

    redis: Redis
    ledger: Ledger
    payments: Payments

    def later(self, seconds: float) -> None:
        """Move the clock forward."""
        self.redis.incrby("test:clock", int(seconds * 1000))

    def submit(self, job_id: str, priority: str = "normal", batch_id: str = "") -> str:
        """Submit a job, and return its id."""
        return self.ledger.submit(
            NewJob(id=job_id, payload={}, fingerprint="f", priority=priority, batch_id=batch_id)
        ).job_id

    def admit(self, n: int = 100) -> list[str]:
        """Return the due jobs, with room for all."""
        return [job_id for job_id, _ in self.ledger.due(n, room=n, admit=n)]

    def claim(self, job_id: str, owner: str = "w1", nonce: str = "n1") -> str:
        """Claim a job that must be free, and return the fence."""
        claim = self.ledger.claim(job_id, owner, nonce)
        assert claim.verdict == "OK"
        return claim.fence

    def running(self, job_id: str = "j", balance: float = 1000) -> str:
        """Submit and claim a job on an account with a balance, and return the fence."""
        self.submit(job_id)
        self.admit()
        fence = self.claim(job_id)
        self.ledger.update_facts(job_id, fence, {"account": "a"})
        self.payments.record_balance("a", read_at=1, available=balance, frozen=0, total=balance)
        return fence

    def begin(self, job_id: str, fence: str, call: str = "c1", turn: int = 1) -> str:
        """Begin a message of 100 credits, with at most 10 in flight, and return the verdict."""
        session = self.redis.hget(self.ledger.key("job", job_id), "session_id") or ""
        return self.payments.begin(
            job_id, fence, turn=turn, call=call, cost=100, cap=10, session_id=str(session)
        ).verdict

    def places(self, job_id: str) -> list[str]:
        """Return every place in which a job is; there must be exactly one."""
        found = []
        for key in self.redis.scan_iter("*"):
            if key.startswith("flow:") and job_id in self.redis.lrange(key, 0, -1):
                found.append("flow")
            if key.startswith("held:") and self.redis.sismember(key, job_id):
                found.append(key)
        if self.redis.zscore("agenda:{t}", job_id) is not None:
            found.append("agenda")
        job = self.ledger.job(job_id)
        assert job is not None
        if job.state.is_end:
            found.append("end")
        return found


def job_state(harness: LedgerHarness, job_id: str = "j") -> State:
    """Return the state of a job that must exist."""
    job = harness.ledger.job(job_id)
    assert job is not None
    return job.state


def commit_again(
    ledger: Ledger, job_id: str, fence: str, end: Commit, nonce: str, *, following: str = ""
) -> str:
    """Commit under a given nonce, which a client repeats after a lost reply.

    Args:
        ledger: The ledger.
        job_id: The job.
        fence: The owner's fence.
        end: The end of the step.
        nonce: The nonce of the commit.
        following: The nonce of the claim of the next stage, or "".
    """
    claim = NextClaim(following, int(LEASE * 1000), LEASE_MARGIN_MS)
    arguments = commit_arguments(job_id, fence, end, nonce=nonce, following=claim)
    return str(ledger.scripts.run("commit", *arguments)[0])


def paid_attempt(number: int = 1, *, turn: int = 1, session_id: str = "s-paid") -> PaidAttempt:
    """Return a payment as the journal has it."""
    return PaidAttempt(
        number=number,
        turn=turn,
        call=f"j:{turn}:7:abc{number}",
        price=100,
        session_id=session_id,
        task_id="t-paid",
        account="a",
        baseline="before",
        sent_at=1_000_000_000 + number,
    )


@pytest.fixture
def harness(redis: Redis) -> LedgerHarness:
    """Return an empty ledger whose clock is at a round number."""
    redis.set("test:clock", 1_000_000_000)
    ledger = Ledger(redis, "t", lease_seconds=LEASE, clock=CLOCK)
    return LedgerHarness(redis, ledger, Payments(ledger))
