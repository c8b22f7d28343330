"""Each move of the transition table is one that the scripts make."""

from typing import assert_never

import pytest

from tests.unit.worker.ledger.conftest import LEASE, House
from worker.ledger.ledger import Commit
from worker.ledger.model.states import Reason, State
from worker.ledger.model.submissions import NewJob
from worker.ledger.model.transitions import TRANSITIONS, Operation

MOVES = [
    (operation, before, after)
    for operation, rows in TRANSITIONS.items()
    for before, states in rows.items()
    for after in sorted(states)
]


def state(house: House) -> State:
    job = house.ledger.job("j")
    assert job is not None
    return job.state


def commit(house: House, after: State, resume: State | None = None) -> None:
    """Claim the job and end a step of it."""
    reason = {State.HELD: Reason.PLAN, State.FAILED: Reason.RENDER_FAILED}.get(after)
    fence = house.claim("j", nonce=f"n{house.redis.incr('nonces')}")
    end = Commit(after, reason=reason, resume=resume)
    assert house.ledger.commit("j", fence, end)


def bring(house: House, before: State, resume: State | None = None) -> None:
    """Bring the job to a state."""
    house.submit("j")
    if before is not State.QUEUED:
        assert house.admit() == ["j"]
    if before not in (State.QUEUED, State.PREPARING):
        commit(house, before, resume)


def make_move(house: House, operation: Operation, before: State, after: State) -> None:
    """Bring the job to the state before, and let the operation move it."""
    match operation:
        case Operation.DISPATCH:
            bring(house, before)
            assert house.admit() == ["j"]
        case Operation.CLAIM:
            bring(house, before)
            house.claim("j", nonce="of the worker that dies")
            house.redis.hset("job:{t}:j", "crashes", 4)
            house.later(LEASE + 1)
            assert house.ledger.claim("j", "w2", "n").verdict == "POISON"
        case Operation.COMMIT:
            bring(house, before)
            commit(house, after)
        case Operation.CANCEL:
            bring(house, before)
            assert house.ledger.cancel("j") == "CANCELLED"
        case Operation.RELEASE:
            bring(house, before, resume=State.PREPARING if after is State.QUEUED else after)
            assert house.ledger.release("j") == "OK"
        case Operation.RETRY:
            fail(house, paid=after is not State.QUEUED, draft=after is State.RENDERING)
            assert house.ledger.retry("j") == "OK"
        case Operation.UNBLOCK:
            block(house)
            assert house.ledger.cancel("a") == "CANCELLED"
        case _:
            assert_never(operation)


def fail(house: House, *, paid: bool, draft: bool) -> None:
    fence = house.running()
    if paid:
        assert house.begin("j", fence) == "OK"
    facts = {"draft": "{}"} if draft else {}
    end = Commit(State.FAILED, reason=Reason.RENDER_FAILED, facts=facts)
    assert house.ledger.commit("j", fence, end)


def block(house: House) -> None:
    """The job is a follow-up that is held as blocked by job a."""
    fence = house.running("a")
    house.ledger.submit(NewJob(id="j", payload={}, fingerprint="f", follows="a"))
    assert house.admit() == ["j"]
    assert house.ledger.commit("a", fence, Commit(State.HELD, reason=Reason.PLAN))
    blocked = Commit(State.HELD, reason=Reason.BLOCKED, facts={"blocked_by": "a"})
    assert house.ledger.commit("j", house.claim("j"), blocked)


@pytest.mark.parametrize(("operation", "before", "after"), MOVES)
def test_each_move_of_the_table_happens(
    house: House, operation: Operation, before: State, after: State
) -> None:
    make_move(house, operation, before, after)
    assert state(house) is after
