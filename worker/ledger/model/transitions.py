"""The transition table: which state of a job may follow which, by the operation that moves it.

The scripts make the moves, and no product code reads the table: the tests of the scripts and the
state machine test check each move against it.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from worker.ledger.model.states import RUNNING, State


class Operation(StrEnum):
    """What moves a job."""

    DISPATCH = "dispatch"  # the ticker starts a queued job (due.lua)
    CLAIM = "claim"  # too many workers died during its steps (claim.lua)
    COMMIT = "commit"  # a step ends (commit.lua)
    CANCEL = "cancel"  # a person cancels it (cancel.lua, cancel_waiting.lua)
    RELEASE = "release"  # a person, or a balance that grew, releases it (release.lua)
    RETRY = "retry"  # a person retries it (retry.lua)
    WITHDRAW = "withdraw"  # its intent, as nothing was charged (withdraw_intent.lua)
    ADOPT = "adopt"  # a recovery found its payment in the journal (adopt.lua)
    UNBLOCK = "unblock"  # the job that blocked it has changed its state (lib/transitions.lua)


_NEXT: Final = {
    # A job whose payment is found in the journal continues at settle.
    State.PREPARING: {State.PREPARING, State.GENERATING, State.SETTLING},
    # Without a payment a job may prepare again, for instance in a new session.
    State.GENERATING: {State.GENERATING, State.PREPARING, State.SETTLING},
    # After a question of the agent the next message is sent. After its intent was withdrawn, the
    # job prepares again. A job whose payment was adopted may have ended before Redis lost that.
    State.SETTLING: {
        State.SETTLING,
        State.GENERATING,
        State.PREPARING,
        State.RENDERING,
        State.SUCCEEDED,
    },
    State.RENDERING: {State.RENDERING, State.DELIVERING},
    # A finished render whose file is gone is rendered again.
    State.DELIVERING: {State.DELIVERING, State.RENDERING, State.SUCCEEDED},
}
"""The states that a step may commit as its own success, or to be repeated."""

TRANSITIONS: Final[Mapping[Operation, Mapping[State, frozenset[State]]]] = {
    Operation.DISPATCH: {State.QUEUED: frozenset({State.PREPARING})},
    Operation.CLAIM: {state: frozenset({State.HELD}) for state in RUNNING},
    # Cancelled: it was requested while the step ran, and nothing was paid.
    Operation.COMMIT: {
        state: frozenset({*after, State.HELD, State.FAILED, State.CANCELLED})
        for state, after in _NEXT.items()
    },
    # A running job is cancelled only while no step owns it and nothing was paid.
    Operation.CANCEL: {
        state: frozenset({State.CANCELLED}) for state in (State.QUEUED, *RUNNING, State.HELD)
    },
    # A job that has yet to pay queues again; one that has paid continues after its payment.
    Operation.RELEASE: {
        State.HELD: frozenset(
            {State.QUEUED, State.SETTLING, State.RENDERING, State.DELIVERING},
        )
    },
    Operation.RETRY: {
        State.FAILED: frozenset({State.QUEUED, State.SETTLING, State.RENDERING}),
    },
    Operation.WITHDRAW: {State.HELD: frozenset({State.QUEUED})},
    Operation.ADOPT: {
        state: frozenset({State.SETTLING})
        for state in (State.QUEUED, *(RUNNING - {State.SETTLING}), State.HELD)
    },
    Operation.UNBLOCK: {State.HELD: frozenset({State.QUEUED})},
}
"""For each operation: the states that may follow a state. No other transitions happen."""
