"""One pure table: what was found, at which call and moment, and what is done about it.

Source: the contract's table of codes. Nothing here waits, sends or writes.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from worker.ledger.model.states import Reason
from worker.nemo.errors import (
    BadAnswer,
    Call,
    ClientIdMissing,
    FileTooLarge,
    FileTypeRefused,
    NemoError,
    NoAnswer,
    OutOfCredits,
    PlanRefused,
    RateLimited,
    ServerFailed,
    SessionNotFound,
    TokenRefused,
    Unreachable,
)


class Moment(StrEnum):
    """How the job stands to the money when something is found."""

    UNPAID = "unpaid"  # no message of this turn was sent
    REPLY = "reply"  # this is the direct reply to the message
    PAID = "paid"  # the message was sent before


class Found(StrEnum):
    """What a call came to, other than success."""

    TOKEN_REFUSED = "token_refused"  # noqa: S105 - the name of a finding
    SESSION_NOT_FOUND = "session_not_found"
    OUT_OF_CREDITS = "out_of_credits"
    FILE_TYPE = "file_type"
    FILE_SIZE = "file_size"
    CLIENT_ID_MISSING = "client_id_missing"
    PLAN = "plan"
    RATE_LIMITED = "rate_limited"
    SERVER_FAILED = "server_failed"
    UNREACHABLE = "unreachable"
    NO_ANSWER = "no_answer"
    BAD_ANSWER = "bad_answer"
    REFUSED = "refused"


class Action(StrEnum):
    """What is done."""

    REPEAT = "repeat"  # the same step again, after the delay
    COOL_DOWN = "cool_down"  # as REPEAT, and the account rests for everyone
    NEW_TOKEN = "new_token"  # noqa: S105 - the name of an action
    NEW_ACCOUNT = "new_account"  # forget the session, go to an account that can take it
    NEW_SESSION = "new_session"  # forget the session, open another, upload again
    RENDER_AGAIN = "render_again"  # nobody knows this render: another, with a new id
    SETTLE = "settle"  # nobody knows whether it ran: read the state
    HOLD = "hold"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Decision:
    """One row's answer.

    Attributes:
        action: What is done.
        delay: Seconds before it; 0 is «at once».
        reason: Why a job is held or failed.
        taken_back: Why a message that was intended cannot have been charged; None when it may
            have been, or when none was sent.
    """

    action: Action
    delay: float = 0.0
    reason: Reason | None = None
    taken_back: str | None = None


_KINDS: Final[tuple[tuple[type[NemoError], Found], ...]] = (
    (TokenRefused, Found.TOKEN_REFUSED),
    (SessionNotFound, Found.SESSION_NOT_FOUND),
    (OutOfCredits, Found.OUT_OF_CREDITS),
    (FileTypeRefused, Found.FILE_TYPE),
    (FileTooLarge, Found.FILE_SIZE),
    (ClientIdMissing, Found.CLIENT_ID_MISSING),
    (PlanRefused, Found.PLAN),
    (RateLimited, Found.RATE_LIMITED),
    (ServerFailed, Found.SERVER_FAILED),
    (Unreachable, Found.UNREACHABLE),
    (NoAnswer, Found.NO_ANSWER),
    (BadAnswer, Found.BAD_ANSWER),
)

LONGEST_WAIT: Final = 300.0
"""Seconds; waits between repeats double up to here, and then go on for as long as it takes."""

REFUSALS_TOLERATED: Final = 3
"""An unknown code may be a passing one; said this often, it is the answer."""

# Why an intended message was certainly not charged, by the direct reply.
_TAKEN_BACK: Final = {
    Found.TOKEN_REFUSED: "token_refused",
    Found.SESSION_NOT_FOUND: "session_not_found",
    Found.OUT_OF_CREDITS: "out_of_credits",
    Found.RATE_LIMITED: "rate_limited",
    Found.FILE_TYPE: "file_refused",
    Found.FILE_SIZE: "file_refused",
    Found.PLAN: "plan_refused",
    Found.CLIENT_ID_MISSING: "request_refused",
    Found.REFUSED: "request_refused",
    Found.UNREACHABLE: "not_sent",
}


def found(error: NemoError) -> Found:
    """Name what an error of the client means."""
    known = next((name for kind, name in _KINDS if isinstance(error, kind)), None)
    if known is not None:
        return known
    # An unknown code under a success status may stand for work that was begun.
    return Found.BAD_ANSWER if error.maybe_charged else Found.REFUSED


def growing_wait(attempt: int) -> float:
    """Seconds before repeat number ``attempt`` (from 0): 1, 2, 4 … up to the longest."""
    return float(min(LONGEST_WAIT, 2.0 ** min(attempt, 16)))


def decide(
    call: Call,
    what: Found,
    moment: Moment,
    *,
    attempt: int,
    anonymous: bool,
    elsewhere: bool,
    rate_limit_wait: float,
) -> Decision:
    """What to do about a finding.

    Args:
        call: The call that was made.
        what: What it came to.
        moment: How the job stands to the money.
        attempt: How often this step found trouble in a row before, from 0.
        anonymous: Whether the account's token is one that we may renew by ourselves.
        elsewhere: Whether nothing is paid in the session and another account can take the job.
        rate_limit_wait: Seconds to rest after a 429: what the API asked for, else the setting.
    """
    taken_back = _TAKEN_BACK.get(what) if moment is Moment.REPLY else None
    match what:
        case Found.TOKEN_REFUSED:
            if anonymous and attempt < REFUSALS_TOLERATED:
                return Decision(Action.NEW_TOKEN, taken_back=taken_back)
            if elsewhere:
                return Decision(Action.NEW_ACCOUNT, taken_back=taken_back)
            return Decision(Action.HOLD, reason=Reason.TOKEN, taken_back=taken_back)
        case Found.SESSION_NOT_FOUND:
            if moment is Moment.PAID:
                return Decision(Action.HOLD, reason=Reason.SESSION_LOST)
            return Decision(
                Action.NEW_SESSION, delay=growing_wait(attempt) - 1, taken_back=taken_back
            )
        case Found.OUT_OF_CREDITS if elsewhere:
            return Decision(Action.NEW_ACCOUNT, taken_back=taken_back)
        case Found.OUT_OF_CREDITS:
            return Decision(Action.HOLD, reason=Reason.CREDITS, taken_back=taken_back)
        case Found.FILE_TYPE | Found.FILE_SIZE if moment is Moment.PAID:
            # Nothing was uploaded in this call: the code says nothing about the job's files.
            return _refused(call, attempt, taken_back)
        case Found.FILE_TYPE:
            return Decision(Action.FAIL, reason=Reason.UNSUPPORTED_FILE, taken_back=taken_back)
        case Found.FILE_SIZE:
            return Decision(Action.FAIL, reason=Reason.FILE_TOO_LARGE, taken_back=taken_back)
        case Found.PLAN:
            return Decision(Action.HOLD, reason=Reason.PLAN, taken_back=taken_back)
        case Found.RATE_LIMITED:
            if call is Call.TOKEN and attempt > 0:
                return Decision(Action.HOLD, reason=Reason.TOKEN)
            return Decision(Action.COOL_DOWN, delay=rate_limit_wait, taken_back=taken_back)
        case Found.SERVER_FAILED | Found.NO_ANSWER | Found.BAD_ANSWER:
            if moment is Moment.REPLY:
                return Decision(Action.SETTLE)
            if call is Call.UPLOAD:
                # Whether the file arrived is unknown; a second copy in the same session would
                # change the clip.
                return Decision(Action.NEW_SESSION, delay=growing_wait(attempt))
            return Decision(Action.REPEAT, delay=growing_wait(attempt))
        case Found.UNREACHABLE:
            return Decision(Action.REPEAT, delay=growing_wait(attempt), taken_back=taken_back)
        case Found.CLIENT_ID_MISSING if attempt >= REFUSALS_TOLERATED:
            return Decision(Action.HOLD, reason=Reason.TOKEN, taken_back=taken_back)
        case Found.CLIENT_ID_MISSING | Found.REFUSED:
            return _refused(call, attempt, taken_back)


def _refused(call: Call, attempt: int, taken_back: str | None) -> Decision:
    """What to do about a refusal that the contract does not explain."""
    if call is Call.POLL:
        return Decision(Action.RENDER_AGAIN)
    if attempt < REFUSALS_TOLERATED:
        return Decision(Action.REPEAT, delay=growing_wait(attempt), taken_back=taken_back)
    return Decision(Action.FAIL, reason=Reason.BAD_REQUEST, taken_back=taken_back)
