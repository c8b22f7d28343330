"""Each move of the transition table is one that the scripts make."""

from typing import assert_never

import pytest

from tests.unit.worker.ledger.conftest import LEASE, LedgerHarness, paid_attempt
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob
from worker.ledger.model.transitions import TRANSITIONS, Operation

MOVES = sorted(
    (operation, before, after)
    for operation, rows in TRANSITIONS.items()
    for before, states in rows.items()
    for after in states
)


def state(harness: LedgerHarness) -> State:
    job = harness.ledger.job("j")
    assert job is not None
    return job.state


def commit(harness: LedgerHarness, after: State, resume: State | None = None) -> None:
    """Claim the job and end a step of it."""
    reason = {State.HELD: Reason.PLAN, State.FAILED: Reason.RENDER_FAILED}.get(after)
    fence = harness.claim("j", nonce=f"n{harness.redis.incr('nonces')}")
    end = Commit(after, reason=reason, resume=resume)
    assert harness.ledger.commit("j", fence, end)


def bring(harness: LedgerHarness, before: State, resume: State | None = None) -> None:
    """Bring the job to a state."""
    harness.submit("j")
    if before is not State.QUEUED:
        assert harness.admit() == ["j"]
    if before not in (State.QUEUED, State.PREPARING):
        commit(harness, before, resume)


def make_move(harness: LedgerHarness, operation: Operation, before: State, after: State) -> None:
    """Bring the job to the state before, and let the operation move it."""
    match operation:
        case Operation.DISPATCH:
            bring(harness, before)
            assert harness.admit() == ["j"]
        case Operation.CLAIM:
            bring(harness, before)
            harness.claim("j", nonce="of the worker that dies")
            harness.redis.hset("job:{t}:j", "crashes", 4)
            harness.later(LEASE + 1)
            assert harness.ledger.claim("j", "w2", "n").verdict == "POISON"
        case Operation.COMMIT:
            bring(harness, before)
            commit(harness, after)
        case Operation.CANCEL:
            bring(harness, before)
            assert harness.ledger.cancel("j") == "CANCELLED"
        case Operation.RELEASE:
            bring(harness, before, resume=State.PREPARING if after is State.QUEUED else after)
            assert harness.ledger.release("j") == "OK"
        case Operation.RETRY:
            fail(harness, paid=after is not State.QUEUED, draft=after is State.RENDERING)
            assert harness.ledger.retry("j") == "OK"
        case Operation.WITHDRAW:
            fence = harness.running()
            assert harness.begin("j", fence) == "OK"
            unknown = Commit(before, reason=Reason.OUTCOME_UNKNOWN, resume=State.SETTLING)
            assert harness.ledger.commit("j", fence, unknown)
            assert harness.payments.withdraw("j", "c1", "not_charged")
        case Operation.ADOPT:
            bring(harness, before)
            assert harness.payments.adopt("j", paid_attempt()) == "OK"
        case Operation.UNBLOCK:
            block(harness)
            assert harness.ledger.cancel("a") == "CANCELLED"
        case _:
            assert_never(operation)


def fail(harness: LedgerHarness, *, paid: bool, draft: bool) -> None:
    fence = harness.running()
    if paid:
        assert harness.begin("j", fence) == "OK"
    facts = {"draft": "{}"} if draft else {}
    end = Commit(State.FAILED, reason=Reason.RENDER_FAILED, facts=facts)
    assert harness.ledger.commit("j", fence, end)


def block(harness: LedgerHarness) -> None:
    """The job is a follow-up that is held as blocked by job a."""
    fence = harness.running("a")
    harness.ledger.submit(NewJob(id="j", payload={}, fingerprint="f", follows="a"))
    assert harness.admit() == ["j"]
    assert harness.ledger.commit("a", fence, Commit(State.HELD, reason=Reason.PLAN))
    blocked = Commit(State.HELD, reason=Reason.BLOCKED, facts={"blocked_by": "a"})
    assert harness.ledger.commit("j", harness.claim("j"), blocked)


@pytest.mark.parametrize(("operation", "before", "after"), MOVES)
def test_each_move_of_the_table_happens(
    harness: LedgerHarness, operation: Operation, before: State, after: State
) -> None:
    make_move(harness, operation, before, after)
    assert state(harness) is after
