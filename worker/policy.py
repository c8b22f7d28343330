"""The error policy: one pure table from a failed call of the video API to what the job does next.

Source: docs/video-api.md, "Codes". Nothing in this module waits, sends or writes.
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
    OtherRefusal,
    OutOfCredits,
    PlanRefused,
    RateLimited,
    ServerFailed,
    SessionNotFound,
    TokenRefused,
    Unreachable,
)

MAX_BACKOFF_SECONDS: Final = 300.0
"""The wait between repeats doubles up to this value; the number of repeats has no limit."""

MAX_REFUSALS: Final = 3
"""How often a refusal is repeated before it counts as permanent."""

_UNCHARGED_REASONS: Final[dict[type[NemoError], str]] = {
    TokenRefused: "token_refused",
    SessionNotFound: "session_not_found",
    OutOfCredits: "out_of_credits",
    RateLimited: "rate_limited",
    FileTypeRefused: "file_refused",
    FileTooLarge: "file_refused",
    PlanRefused: "plan_refused",
    ClientIdMissing: "request_refused",
    OtherRefusal: "request_refused",
    Unreachable: "not_sent",
}


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


def decide(
    error: NemoError,
    *,
    is_bound: bool,
    earlier_errors: int,
    anonymous: bool,
    others_can_take: bool,
    rate_limit_wait: float,
) -> Decision:
    """Decide what a job does after an error.

    Args:
        error: The error.
        is_bound: Whether the job must stay in its session: `Job.is_bound`.
        earlier_errors: Errors of this kind in a row before this one.
        anonymous: Whether the account's token is anonymous, so that this service may renew it.
        others_can_take: Whether another account can take the job, which has paid nothing.
        rate_limit_wait: Seconds to wait after a 429 that does not name a time.
    """
    backoff = backoff_seconds(earlier_errors)
    match error:
        case NemoError() if error.maybe_charged:
            return Decision(Action.SETTLE)
        case TokenRefused() if anonymous and earlier_errors < MAX_REFUSALS:
            return Decision(Action.NEW_TOKEN)
        case TokenRefused() | OutOfCredits() if others_can_take:
            return Decision(Action.NEW_ACCOUNT)
        case TokenRefused():
            return Decision(Action.HOLD, reason=Reason.TOKEN)
        case OutOfCredits():
            return Decision(Action.HOLD, reason=Reason.CREDITS)
        case PlanRefused():
            return Decision(Action.HOLD, reason=Reason.PLAN)
        case SessionNotFound() if is_bound:
            return Decision(Action.HOLD, reason=Reason.SESSION_LOST)
        case SessionNotFound():
            # After 0, 1, 3, … seconds: another session needs no time to recover.
            return Decision(Action.NEW_SESSION, delay=backoff - 1)
        case FileTypeRefused() if error.call is Call.MESSAGE or not is_bound:
            return Decision(Action.FAIL, reason=Reason.UNSUPPORTED_FILE)
        case FileTooLarge() if error.call is Call.MESSAGE or not is_bound:
            return Decision(Action.FAIL, reason=Reason.FILE_TOO_LARGE)
        case RateLimited() if error.call is Call.TOKEN and earlier_errors > 0:
            return Decision(Action.HOLD, reason=Reason.TOKEN)
        case RateLimited():
            return Decision(Action.COOL_DOWN, delay=error.retry_after or rate_limit_wait)
        case ServerFailed() | NoAnswer() | BadAnswer() if error.call is Call.UPLOAD:
            # The file may have arrived, and a second copy in the session would change the clip.
            return Decision(Action.NEW_SESSION, delay=backoff)
        case ServerFailed() | NoAnswer() | BadAnswer() | Unreachable():
            return Decision(Action.REPEAT, delay=backoff)
        case ClientIdMissing() if earlier_errors >= MAX_REFUSALS:
            return Decision(Action.HOLD, reason=Reason.TOKEN)
        # A refusal that is not documented, or that does not apply to this call.
        case _ if error.call is Call.POLL:
            return Decision(Action.RENDER_AGAIN)
        case _ if earlier_errors < MAX_REFUSALS:
            return Decision(Action.REPEAT, delay=backoff)
        case _:
            return Decision(Action.FAIL, reason=Reason.BAD_REQUEST)


def uncharged_reason(error: NemoError) -> str | None:
    """Return why the message that failed was not charged; None if it may have been charged.

    Only the direct reply to a message, or no connection at all, proves that it was not.
    """
    if error.call is not Call.MESSAGE or error.maybe_charged:
        return None
    return _UNCHARGED_REASONS.get(type(error))


def backoff_seconds(earlier_errors: int) -> float:
    """Return the wait before the next repeat: 1, 2, 4… seconds, up to the maximum."""
    return float(min(MAX_BACKOFF_SECONDS, 2.0 ** min(earlier_errors, 16)))
