"""The error policy, row by row."""

import pytest

from worker.ledger.model.states import HOLD_REASONS, Reason
from worker.nemo.errors import Call, NemoError, Refusal
from worker.policy import (
    MAX_REFUSALS,
    MAX_WAIT_SECONDS,
    Action,
    Decision,
    ErrorKind,
    PaymentState,
    backoff_seconds,
    decide,
    error_kind,
    uncharged_reason,
)

U, R, P = PaymentState.UNPAID, PaymentState.REPLY, PaymentState.PAID
HOLD, FAIL = Action.HOLD, Action.FAIL

Row = tuple[Call, ErrorKind, PaymentState, int, bool, Action, Reason | None, str | None]

# call, error, payment, attempt, anonymous -> action, reason, why a message was not charged
ROWS: list[Row] = [
    (Call.SESSION, ErrorKind.TOKEN_REFUSED, U, 0, True, Action.NEW_TOKEN, None, None),
    (Call.SESSION, ErrorKind.TOKEN_REFUSED, U, 3, True, HOLD, Reason.TOKEN, None),
    (Call.SESSION, ErrorKind.TOKEN_REFUSED, U, 0, False, HOLD, Reason.TOKEN, None),
    (Call.MESSAGE, ErrorKind.TOKEN_REFUSED, R, 0, True, Action.NEW_TOKEN, None, "token_refused"),
    (Call.MESSAGE, ErrorKind.TOKEN_REFUSED, R, 0, False, HOLD, Reason.TOKEN, "token_refused"),
    (Call.STATE, ErrorKind.TOKEN_REFUSED, P, 0, True, Action.NEW_TOKEN, None, None),
    (Call.POLL, ErrorKind.TOKEN_REFUSED, P, 0, False, HOLD, Reason.TOKEN, None),
    (Call.UPLOAD, ErrorKind.SESSION_NOT_FOUND, U, 0, True, Action.NEW_SESSION, None, None),
    (
        *(Call.MESSAGE, ErrorKind.SESSION_NOT_FOUND, R, 0, True),
        *(Action.NEW_SESSION, None, "session_not_found"),
    ),
    (Call.STATE, ErrorKind.SESSION_NOT_FOUND, P, 0, True, HOLD, Reason.SESSION_LOST, None),
    (Call.EXPORT, ErrorKind.SESSION_NOT_FOUND, P, 0, True, HOLD, Reason.SESSION_LOST, None),
    (Call.SESSION, ErrorKind.OUT_OF_CREDITS, U, 0, True, HOLD, Reason.CREDITS, None),
    (Call.MESSAGE, ErrorKind.OUT_OF_CREDITS, R, 0, True, HOLD, Reason.CREDITS, "out_of_credits"),
    (Call.UPLOAD, ErrorKind.FILE_TYPE, U, 0, True, FAIL, Reason.UNSUPPORTED_FILE, None),
    (Call.UPLOAD, ErrorKind.FILE_SIZE, U, 0, True, FAIL, Reason.FILE_TOO_LARGE, None),
    (Call.EXPORT, ErrorKind.PLAN, P, 0, True, HOLD, Reason.PLAN, None),
    (Call.POLL, ErrorKind.PLAN, P, 0, False, HOLD, Reason.PLAN, None),
    (Call.SESSION, ErrorKind.RATE_LIMITED, U, 0, True, Action.COOL_DOWN, None, None),
    (Call.SESSION, ErrorKind.RATE_LIMITED, U, 50, True, Action.COOL_DOWN, None, None),
    (Call.MESSAGE, ErrorKind.RATE_LIMITED, R, 0, True, Action.COOL_DOWN, None, "rate_limited"),
    (Call.POLL, ErrorKind.RATE_LIMITED, P, 0, True, Action.COOL_DOWN, None, None),
    (Call.TOKEN, ErrorKind.RATE_LIMITED, U, 0, True, Action.COOL_DOWN, None, None),
    (Call.TOKEN, ErrorKind.RATE_LIMITED, U, 1, True, HOLD, Reason.TOKEN, None),
    (Call.MESSAGE, ErrorKind.SERVER_FAILED, R, 0, True, Action.SETTLE, None, None),
    (Call.MESSAGE, ErrorKind.NO_ANSWER, R, 0, True, Action.SETTLE, None, None),
    (Call.MESSAGE, ErrorKind.BAD_ANSWER, R, 0, True, Action.SETTLE, None, None),
    (Call.MESSAGE, ErrorKind.UNREACHABLE, R, 0, True, Action.REPEAT, None, "not_sent"),
    (Call.UPLOAD, ErrorKind.NO_ANSWER, U, 0, True, Action.NEW_SESSION, None, None),
    (Call.UPLOAD, ErrorKind.SERVER_FAILED, U, 0, True, Action.NEW_SESSION, None, None),
    (Call.UPLOAD, ErrorKind.UNREACHABLE, U, 0, True, Action.REPEAT, None, None),
    (Call.STATE, ErrorKind.SERVER_FAILED, P, 99, True, Action.REPEAT, None, None),
    (Call.POLL, ErrorKind.NO_ANSWER, P, 99, True, Action.REPEAT, None, None),
    (Call.EXPORT, ErrorKind.UNREACHABLE, P, 99, True, Action.REPEAT, None, None),
    (Call.TOKEN, ErrorKind.CLIENT_ID_MISSING, U, 0, True, Action.REPEAT, None, None),
    (Call.EXPORT, ErrorKind.REFUSED, P, 0, True, Action.REPEAT, None, None),
    (Call.EXPORT, ErrorKind.REFUSED, P, 3, True, FAIL, Reason.BAD_REQUEST, None),
    (Call.POLL, ErrorKind.REFUSED, P, 0, True, Action.RENDER_AGAIN, None, None),
    (Call.MESSAGE, ErrorKind.REFUSED, R, 3, True, FAIL, Reason.BAD_REQUEST, "request_refused"),
]


def ask(
    call: Call,
    kind: ErrorKind,
    payment: PaymentState,
    attempt: int,
    *,
    anonymous: bool,
    others_can_take: bool = False,
) -> Decision:
    return decide(
        call,
        kind,
        payment,
        attempt=attempt,
        anonymous=anonymous,
        others_can_take=others_can_take,
        rate_limit_wait=30,
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}-{row[1]}-{row[2]}-{row[3]}")
def test_row(row: Row) -> None:
    call, kind, payment, attempt, anonymous, action, reason, uncharged = row
    decision = ask(call, kind, payment, attempt, anonymous=anonymous)
    assert (decision.action, decision.reason) == (action, reason)
    assert uncharged_reason(kind, payment) == uncharged


def test_every_case_has_a_decision_and_holds_and_failures_have_a_reason() -> None:
    for call in Call:
        for kind in ErrorKind:
            for payment in PaymentState:
                for attempt in (0, 1, MAX_REFUSALS, 1000):
                    decision = ask(call, kind, payment, attempt, anonymous=False)
                    needs_reason = decision.action in (HOLD, FAIL)
                    assert (decision.reason is not None) == needs_reason
                    if decision.reason is not None:
                        assert (decision.reason in HOLD_REASONS) == (decision.action is HOLD)


def test_a_message_that_may_have_been_charged_is_settled_and_never_sent_again() -> None:
    for kind in (ErrorKind.SERVER_FAILED, ErrorKind.NO_ANSWER, ErrorKind.BAD_ANSWER):
        assert uncharged_reason(kind, R) is None
        for attempt in range(10):
            assert ask(Call.MESSAGE, kind, R, attempt, anonymous=True).action is Action.SETTLE


def test_policy_and_client_agree_on_which_failed_messages_may_have_been_charged() -> None:
    classes = [error for error in NemoError.__subclasses__() if error is not Refusal]
    for error_class in [*classes, *Refusal.__subclasses__()]:
        for status in (None, 200, 400, 500):
            error = error_class(Call.MESSAGE, status=status, code=4242)
            reason = uncharged_reason(error_kind(error), R)
            assert (reason is None) == error.maybe_charged, (error_class, status)


def test_only_the_direct_reply_to_a_message_proves_that_it_was_not_charged() -> None:
    for kind in ErrorKind:
        for payment in (U, P):
            assert uncharged_reason(kind, payment) is None


def test_backoff_grows_to_the_maximum() -> None:
    waits = [backoff_seconds(n) for n in range(2000)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (1, MAX_WAIT_SECONDS)


@pytest.mark.parametrize("kind", [ErrorKind.TOKEN_REFUSED, ErrorKind.OUT_OF_CREDITS])
@pytest.mark.parametrize(("call", "payment"), [(Call.SESSION, U), (Call.MESSAGE, R)])
def test_an_unpaid_job_moves_to_another_account_that_can_take_it(
    kind: ErrorKind, call: Call, payment: PaymentState
) -> None:
    decision = ask(call, kind, payment, 0, anonymous=False, others_can_take=True)
    assert decision.action is Action.NEW_ACCOUNT
    assert (uncharged_reason(kind, payment) is not None) == (payment is R)


@pytest.mark.parametrize("kind", [ErrorKind.FILE_TYPE, ErrorKind.FILE_SIZE])
def test_a_file_error_does_not_fail_a_render(kind: ErrorKind) -> None:
    assert ask(Call.POLL, kind, P, 0, anonymous=False).action is Action.RENDER_AGAIN
    assert ask(Call.EXPORT, kind, P, 0, anonymous=False).action is Action.REPEAT


def test_a_client_id_that_stays_refused_holds_the_job() -> None:
    decision = ask(Call.TOKEN, ErrorKind.CLIENT_ID_MISSING, U, MAX_REFUSALS, anonymous=True)
    assert (decision.action, decision.reason) == (HOLD, Reason.TOKEN)
