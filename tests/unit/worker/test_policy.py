"""The error policy, row by row."""

from collections.abc import Iterator

import pytest

from worker.ledger.model.states import HOLD_REASONS, Reason
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
    Refusal,
    ServerFailed,
    SessionNotFound,
    TokenRefused,
    Unreachable,
)
from worker.policy import (
    MAX_BACKOFF_SECONDS,
    MAX_REFUSALS,
    Action,
    Decision,
    backoff_seconds,
    decide,
    uncharged_reason,
)

UNPAID, PAID = False, True
HOLD, FAIL = Action.HOLD, Action.FAIL

Kind = type[NemoError]
Row = tuple[Call, Kind, bool, int, bool, Action, Reason | None, str | None]
KINDS: tuple[Kind, ...] = (
    *(kind for kind in NemoError.__subclasses__() if kind is not Refusal),
    *Refusal.__subclasses__(),
)

# call, error, is paid, earlier_errors, anonymous -> action, reason, why a message was not charged
ROWS: list[Row] = [
    (Call.SESSION, TokenRefused, UNPAID, 0, True, Action.NEW_TOKEN, None, None),
    (Call.SESSION, TokenRefused, UNPAID, 3, True, HOLD, Reason.TOKEN, None),
    (Call.SESSION, TokenRefused, UNPAID, 0, False, HOLD, Reason.TOKEN, None),
    (Call.MESSAGE, TokenRefused, UNPAID, 0, True, Action.NEW_TOKEN, None, "token_refused"),
    (Call.MESSAGE, TokenRefused, UNPAID, 0, False, HOLD, Reason.TOKEN, "token_refused"),
    (Call.STATE, TokenRefused, PAID, 0, True, Action.NEW_TOKEN, None, None),
    (Call.POLL, TokenRefused, PAID, 0, False, HOLD, Reason.TOKEN, None),
    (Call.UPLOAD, SessionNotFound, UNPAID, 0, True, Action.NEW_SESSION, None, None),
    (
        *(Call.MESSAGE, SessionNotFound, UNPAID, 0, True),
        *(Action.NEW_SESSION, None, "session_not_found"),
    ),
    (Call.STATE, SessionNotFound, PAID, 0, True, HOLD, Reason.SESSION_LOST, None),
    (Call.EXPORT, SessionNotFound, PAID, 0, True, HOLD, Reason.SESSION_LOST, None),
    (Call.SESSION, OutOfCredits, UNPAID, 0, True, HOLD, Reason.CREDITS, None),
    (Call.MESSAGE, OutOfCredits, UNPAID, 0, True, HOLD, Reason.CREDITS, "out_of_credits"),
    (Call.UPLOAD, FileTypeRefused, UNPAID, 0, True, FAIL, Reason.UNSUPPORTED_FILE, None),
    (Call.UPLOAD, FileTooLarge, UNPAID, 0, True, FAIL, Reason.FILE_TOO_LARGE, None),
    (Call.EXPORT, PlanRefused, PAID, 0, True, HOLD, Reason.PLAN, None),
    (Call.POLL, PlanRefused, PAID, 0, False, HOLD, Reason.PLAN, None),
    (Call.SESSION, RateLimited, UNPAID, 0, True, Action.COOL_DOWN, None, None),
    (Call.SESSION, RateLimited, UNPAID, 50, True, Action.COOL_DOWN, None, None),
    (Call.MESSAGE, RateLimited, UNPAID, 0, True, Action.COOL_DOWN, None, "rate_limited"),
    (Call.POLL, RateLimited, PAID, 0, True, Action.COOL_DOWN, None, None),
    (Call.TOKEN, RateLimited, UNPAID, 0, True, Action.COOL_DOWN, None, None),
    (Call.TOKEN, RateLimited, UNPAID, 1, True, HOLD, Reason.TOKEN, None),
    (Call.MESSAGE, ServerFailed, UNPAID, 0, True, Action.SETTLE, None, None),
    (Call.MESSAGE, NoAnswer, UNPAID, 0, True, Action.SETTLE, None, None),
    (Call.MESSAGE, BadAnswer, UNPAID, 0, True, Action.SETTLE, None, None),
    (Call.MESSAGE, Unreachable, UNPAID, 0, True, Action.REPEAT, None, "not_sent"),
    (Call.UPLOAD, NoAnswer, UNPAID, 0, True, Action.NEW_SESSION, None, None),
    (Call.UPLOAD, ServerFailed, UNPAID, 0, True, Action.NEW_SESSION, None, None),
    (Call.UPLOAD, Unreachable, UNPAID, 0, True, Action.REPEAT, None, None),
    (Call.STATE, ServerFailed, PAID, 99, True, Action.REPEAT, None, None),
    (Call.POLL, NoAnswer, PAID, 99, True, Action.REPEAT, None, None),
    (Call.EXPORT, Unreachable, PAID, 99, True, Action.REPEAT, None, None),
    (Call.TOKEN, ClientIdMissing, UNPAID, 0, True, Action.REPEAT, None, None),
    (Call.EXPORT, OtherRefusal, PAID, 0, True, Action.REPEAT, None, None),
    (Call.EXPORT, OtherRefusal, PAID, 3, True, FAIL, Reason.BAD_REQUEST, None),
    (Call.POLL, OtherRefusal, PAID, 0, True, Action.RENDER_AGAIN, None, None),
    (Call.MESSAGE, OtherRefusal, UNPAID, 3, True, FAIL, Reason.BAD_REQUEST, "request_refused"),
]


def error_of(kind: Kind, call: Call) -> NemoError:
    """An error of a kind; the status says that HTTP itself turned the request away."""
    return kind(call, status=400)


def ask(
    error: NemoError,
    *,
    is_bound: bool = UNPAID,
    earlier_errors: int = 0,
    anonymous: bool = False,
    others_can_take: bool = False,
) -> Decision:
    return decide(
        error,
        is_bound=is_bound,
        earlier_errors=earlier_errors,
        anonymous=anonymous,
        others_can_take=others_can_take,
        rate_limit_wait=30,
    )


def errors() -> Iterator[NemoError]:
    """Every kind of error, of every call."""
    for call in Call:
        for kind in KINDS:
            for status in (None, 200, 400, 500):
                yield kind(call, status=status, code=4242)


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r[0]}-{r[1].__name__}-{r[2]}-{r[3]}")
def test_row(row: Row) -> None:
    call, kind, is_bound, earlier_errors, anonymous, action, reason, uncharged = row
    error = error_of(kind, call)
    decision = ask(error, is_bound=is_bound, earlier_errors=earlier_errors, anonymous=anonymous)
    assert (decision.action, decision.reason) == (action, reason)
    assert uncharged_reason(error) == uncharged


def test_every_case_has_a_decision_and_holds_and_failures_have_a_reason() -> None:
    for error in errors():
        for is_bound in (UNPAID, PAID):
            for earlier_errors in (0, 1, MAX_REFUSALS, 1000):
                decision = ask(error, is_bound=is_bound, earlier_errors=earlier_errors)
                needs_reason = decision.action in (HOLD, FAIL)
                assert (decision.reason is not None) == needs_reason
                if decision.reason is not None:
                    assert (decision.reason in HOLD_REASONS) == (decision.action is HOLD)


@pytest.mark.parametrize("kind", [ServerFailed, NoAnswer, BadAnswer])
@pytest.mark.parametrize("is_bound", [UNPAID, PAID])
def test_a_message_that_may_have_been_charged_is_settled_and_never_sent_again(
    kind: Kind, is_bound: bool
) -> None:
    error = kind(Call.MESSAGE)
    assert uncharged_reason(error) is None
    for earlier_errors in range(10):
        decision = ask(error, is_bound=is_bound, earlier_errors=earlier_errors, anonymous=True)
        assert decision.action is Action.SETTLE


def test_policy_and_client_agree_on_which_failed_messages_may_have_been_charged() -> None:
    for error in errors():
        if error.call is Call.MESSAGE:
            assert (uncharged_reason(error) is None) == error.maybe_charged, repr(error)


def test_only_the_direct_reply_to_a_message_proves_that_it_was_not_charged() -> None:
    for error in errors():
        if error.call is not Call.MESSAGE:
            assert uncharged_reason(error) is None


def test_backoff_grows_to_the_maximum() -> None:
    waits = [backoff_seconds(n) for n in range(2000)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (1, MAX_BACKOFF_SECONDS)


def test_a_rate_limit_waits_as_long_as_the_api_asks() -> None:
    error = RateLimited(Call.SESSION)
    assert ask(error).delay == 30
    error.retry_after = 7.0
    assert ask(error).delay == 7


@pytest.mark.parametrize("kind", [TokenRefused, OutOfCredits])
@pytest.mark.parametrize("call", [Call.SESSION, Call.MESSAGE])
def test_an_unpaid_job_moves_to_another_account_that_can_take_it(kind: Kind, call: Call) -> None:
    error = error_of(kind, call)
    assert ask(error, others_can_take=True).action is Action.NEW_ACCOUNT
    assert (uncharged_reason(error) is not None) == (call is Call.MESSAGE)


def test_a_second_message_whose_session_is_lost_holds_the_job() -> None:
    decision = ask(SessionNotFound(Call.MESSAGE), is_bound=PAID)
    assert (decision.action, decision.reason) == (HOLD, Reason.SESSION_LOST)


@pytest.mark.parametrize("kind", [FileTypeRefused, FileTooLarge])
def test_a_file_error_does_not_fail_a_render(kind: Kind) -> None:
    assert ask(error_of(kind, Call.POLL), is_bound=PAID).action is Action.RENDER_AGAIN
    assert ask(error_of(kind, Call.EXPORT), is_bound=PAID).action is Action.REPEAT


def test_a_client_id_that_stays_refused_holds_the_job() -> None:
    error = error_of(ClientIdMissing, Call.TOKEN)
    decision = ask(error, earlier_errors=MAX_REFUSALS, anonymous=True)
    assert (decision.action, decision.reason) == (HOLD, Reason.TOKEN)
