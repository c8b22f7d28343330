"""The error policy: one pure table from a failed call of the video API to what the job does next.

Source: the contract, "Codes". Nothing in this module waits, sends or writes.
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


class PaymentState(StrEnum):
    """Whether the job had paid when the error occurred."""

    UNPAID = "unpaid"  # no message of this turn was sent
    REPLY = "reply"  # the error is the direct reply to the message
    PAID = "paid"  # a message was sent earlier


class ErrorKind(StrEnum):
    """The errors that the policy distinguishes."""

    TOKEN_REFUSED = "token_refused"  # noqa: S105 - the name of an error, not a secret
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
    """What the job does next."""

    REPEAT = "repeat"  # repeat the step after the delay
    COOL_DOWN = "cool_down"  # as REPEAT, and no worker uses the account until then
    NEW_TOKEN = "new_token"  # noqa: S105 - discard the anonymous token; the next step gets another
    NEW_ACCOUNT = "new_account"  # drop the session and move to an account that can take the job
    NEW_SESSION = "new_session"  # drop the session, open another and upload again
    RENDER_AGAIN = "render_again"  # the API does not know this render: submit it with a new id
    SETTLE = "settle"  # the message may have run: read the state
    HOLD = "hold"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policy decides about one error.

    Attributes:
        action: What the job does next.
        delay: Seconds to wait first; 0 means immediately.
        reason: Why the job is held or failed; None for other actions.
    """

    action: Action
    delay: float = 0.0
    reason: Reason | None = None


_KINDS: Final[tuple[tuple[type[NemoError], ErrorKind], ...]] = (
    (TokenRefused, ErrorKind.TOKEN_REFUSED),
    (SessionNotFound, ErrorKind.SESSION_NOT_FOUND),
    (OutOfCredits, ErrorKind.OUT_OF_CREDITS),
    (FileTypeRefused, ErrorKind.FILE_TYPE),
    (FileTooLarge, ErrorKind.FILE_SIZE),
    (ClientIdMissing, ErrorKind.CLIENT_ID_MISSING),
    (PlanRefused, ErrorKind.PLAN),
    (RateLimited, ErrorKind.RATE_LIMITED),
    (ServerFailed, ErrorKind.SERVER_FAILED),
    (Unreachable, ErrorKind.UNREACHABLE),
    (NoAnswer, ErrorKind.NO_ANSWER),
    (BadAnswer, ErrorKind.BAD_ANSWER),
)

MAX_WAIT_SECONDS: Final = 300.0
"""The wait between repeats doubles up to this value; the number of repeats has no limit."""

MAX_REFUSALS: Final = 3
"""How often a refusal is repeated before it counts as permanent."""

_UNCHARGED_REASONS: Final = {
    ErrorKind.TOKEN_REFUSED: "token_refused",
    ErrorKind.SESSION_NOT_FOUND: "session_not_found",
    ErrorKind.OUT_OF_CREDITS: "out_of_credits",
    ErrorKind.RATE_LIMITED: "rate_limited",
    ErrorKind.FILE_TYPE: "file_refused",
    ErrorKind.FILE_SIZE: "file_refused",
    ErrorKind.PLAN: "plan_refused",
    ErrorKind.CLIENT_ID_MISSING: "request_refused",
    ErrorKind.REFUSED: "request_refused",
    ErrorKind.UNREACHABLE: "not_sent",
}
"""The errors that prove, as the direct reply to a message, that the message was not charged."""


def error_kind(error: NemoError) -> ErrorKind:
    """Classify an error of the client."""
    for error_class, kind in _KINDS:
        if isinstance(error, error_class):
            return kind
    # An undocumented code in a successful HTTP response may mean that the message is running.
    return ErrorKind.BAD_ANSWER if error.maybe_charged else ErrorKind.REFUSED


def backoff_seconds(attempt: int) -> float:
    """Return the wait before repeat number ``attempt`` (from 0): 1, 2, 4… up to the maximum."""
    return float(min(MAX_WAIT_SECONDS, 2.0 ** min(attempt, 16)))


def decide(
    call: Call,
    kind: ErrorKind,
    payment: PaymentState,
    *,
    attempt: int,
    anonymous: bool,
    others_can_take: bool,
    rate_limit_wait: float,
) -> Decision:
    """Decide what a job does after an error.

    Args:
        call: The call that failed.
        kind: The kind of error.
        payment: Whether the job had paid.
        attempt: Errors of this kind in a row before this one.
        anonymous: Whether the account's token is anonymous, so that this service may renew it.
        others_can_take: Whether another account can take the job, which has paid nothing in its
            session.
        rate_limit_wait: Seconds to wait after a 429: what the API asked for, else the setting.
    """
    backoff = backoff_seconds(attempt)
    match kind:
        case ErrorKind.TOKEN_REFUSED if anonymous and attempt < MAX_REFUSALS:
            return Decision(Action.NEW_TOKEN)
        case ErrorKind.TOKEN_REFUSED | ErrorKind.OUT_OF_CREDITS if others_can_take:
            return Decision(Action.NEW_ACCOUNT)
        case ErrorKind.TOKEN_REFUSED:
            return Decision(Action.HOLD, reason=Reason.TOKEN)
        case ErrorKind.OUT_OF_CREDITS:
            return Decision(Action.HOLD, reason=Reason.CREDITS)
        case ErrorKind.PLAN:
            return Decision(Action.HOLD, reason=Reason.PLAN)
        case ErrorKind.SESSION_NOT_FOUND if payment is PaymentState.PAID:
            return Decision(Action.HOLD, reason=Reason.SESSION_LOST)
        case ErrorKind.SESSION_NOT_FOUND:
            return Decision(Action.NEW_SESSION, delay=backoff - 1)
        case ErrorKind.FILE_TYPE if payment is not PaymentState.PAID:
            return Decision(Action.FAIL, reason=Reason.UNSUPPORTED_FILE)
        case ErrorKind.FILE_SIZE if payment is not PaymentState.PAID:
            return Decision(Action.FAIL, reason=Reason.FILE_TOO_LARGE)
        case ErrorKind.RATE_LIMITED if call is Call.TOKEN and attempt > 0:
            return Decision(Action.HOLD, reason=Reason.TOKEN)
        case ErrorKind.RATE_LIMITED:
            return Decision(Action.COOL_DOWN, delay=rate_limit_wait)
        case ErrorKind.UNREACHABLE:
            return Decision(Action.REPEAT, delay=backoff)
        case ErrorKind.SERVER_FAILED | ErrorKind.NO_ANSWER | ErrorKind.BAD_ANSWER:
            if payment is PaymentState.REPLY:
                return Decision(Action.SETTLE)
            # The file may have arrived, and a second copy in the session would change the clip.
            return Decision(
                Action.NEW_SESSION if call is Call.UPLOAD else Action.REPEAT, delay=backoff
            )
        case ErrorKind.CLIENT_ID_MISSING if attempt >= MAX_REFUSALS:
            return Decision(Action.HOLD, reason=Reason.TOKEN)
        # A call after payment uploads no file, so a file error then is as good as undocumented.
        case (
            ErrorKind.CLIENT_ID_MISSING
            | ErrorKind.REFUSED
            | ErrorKind.FILE_TYPE
            | ErrorKind.FILE_SIZE
        ):
            return _undocumented_refusal(call, attempt)


def uncharged_reason(kind: ErrorKind, payment: PaymentState) -> str | None:
    """Return why the message that failed cannot have been charged; None if it may have been."""
    return _UNCHARGED_REASONS.get(kind) if payment is PaymentState.REPLY else None


def _undocumented_refusal(call: Call, attempt: int) -> Decision:
    if call is Call.POLL:
        return Decision(Action.RENDER_AGAIN)
    if attempt < MAX_REFUSALS:
        return Decision(Action.REPEAT, delay=backoff_seconds(attempt))
    return Decision(Action.FAIL, reason=Reason.BAD_REQUEST)
