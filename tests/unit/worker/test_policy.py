"""The policy, row by row."""

import pytest

from worker.ledger.model.states import HOLDS, Reason
from worker.nemo.errors import Call, NemoError, Refusal
from worker.policy import (
    LONGEST_WAIT,
    REFUSALS_TOLERATED,
    Action,
    Decision,
    Found,
    Moment,
    decide,
    found,
    growing_wait,
)

U, R, P = Moment.UNPAID, Moment.REPLY, Moment.PAID
HOLD, FAIL = Action.HOLD, Action.FAIL

# call, found, moment, attempt, anonymous -> action, reason, taken back
ROWS = [
    (Call.SESSION, Found.TOKEN_REFUSED, U, 0, True, Action.NEW_TOKEN, None, None),
    (Call.SESSION, Found.TOKEN_REFUSED, U, 3, True, HOLD, Reason.TOKEN, None),
    (Call.SESSION, Found.TOKEN_REFUSED, U, 0, False, HOLD, Reason.TOKEN, None),
    (Call.MESSAGE, Found.TOKEN_REFUSED, R, 0, True, Action.NEW_TOKEN, None, "token_refused"),
    (Call.MESSAGE, Found.TOKEN_REFUSED, R, 0, False, HOLD, Reason.TOKEN, "token_refused"),
    (Call.STATE, Found.TOKEN_REFUSED, P, 0, True, Action.NEW_TOKEN, None, None),
    (Call.POLL, Found.TOKEN_REFUSED, P, 0, False, HOLD, Reason.TOKEN, None),
    (Call.UPLOAD, Found.SESSION_NOT_FOUND, U, 0, True, Action.NEW_SESSION, None, None),
    (
        *(Call.MESSAGE, Found.SESSION_NOT_FOUND, R, 0, True),
        *(Action.NEW_SESSION, None, "session_not_found"),
    ),
    (Call.STATE, Found.SESSION_NOT_FOUND, P, 0, True, HOLD, Reason.SESSION_LOST, None),
    (Call.EXPORT, Found.SESSION_NOT_FOUND, P, 0, True, HOLD, Reason.SESSION_LOST, None),
    (Call.SESSION, Found.OUT_OF_CREDITS, U, 0, True, HOLD, Reason.CREDITS, None),
    (Call.MESSAGE, Found.OUT_OF_CREDITS, R, 0, True, HOLD, Reason.CREDITS, "out_of_credits"),
    (Call.UPLOAD, Found.FILE_TYPE, U, 0, True, FAIL, Reason.UNSUPPORTED_FILE, None),
    (Call.UPLOAD, Found.FILE_SIZE, U, 0, True, FAIL, Reason.FILE_TOO_LARGE, None),
    (Call.EXPORT, Found.PLAN, P, 0, True, HOLD, Reason.PLAN, None),
    (Call.POLL, Found.PLAN, P, 0, False, HOLD, Reason.PLAN, None),
    (Call.SESSION, Found.RATE_LIMITED, U, 0, True, Action.COOL_DOWN, None, None),
    (Call.SESSION, Found.RATE_LIMITED, U, 50, True, Action.COOL_DOWN, None, None),
    (Call.MESSAGE, Found.RATE_LIMITED, R, 0, True, Action.COOL_DOWN, None, "rate_limited"),
    (Call.POLL, Found.RATE_LIMITED, P, 0, True, Action.COOL_DOWN, None, None),
    (Call.TOKEN, Found.RATE_LIMITED, U, 0, True, Action.COOL_DOWN, None, None),
    (Call.TOKEN, Found.RATE_LIMITED, U, 1, True, HOLD, Reason.TOKEN, None),
    (Call.MESSAGE, Found.SERVER_FAILED, R, 0, True, Action.SETTLE, None, None),
    (Call.MESSAGE, Found.NO_ANSWER, R, 0, True, Action.SETTLE, None, None),
    (Call.MESSAGE, Found.BAD_ANSWER, R, 0, True, Action.SETTLE, None, None),
    (Call.MESSAGE, Found.UNREACHABLE, R, 0, True, Action.REPEAT, None, "not_sent"),
    (Call.UPLOAD, Found.NO_ANSWER, U, 0, True, Action.NEW_SESSION, None, None),
    (Call.UPLOAD, Found.SERVER_FAILED, U, 0, True, Action.NEW_SESSION, None, None),
    (Call.UPLOAD, Found.UNREACHABLE, U, 0, True, Action.REPEAT, None, None),
    (Call.STATE, Found.SERVER_FAILED, P, 99, True, Action.REPEAT, None, None),
    (Call.POLL, Found.NO_ANSWER, P, 99, True, Action.REPEAT, None, None),
    (Call.EXPORT, Found.UNREACHABLE, P, 99, True, Action.REPEAT, None, None),
    (Call.TOKEN, Found.CLIENT_ID_MISSING, U, 0, True, Action.REPEAT, None, None),
    (Call.EXPORT, Found.REFUSED, P, 0, True, Action.REPEAT, None, None),
    (Call.EXPORT, Found.REFUSED, P, 3, True, FAIL, Reason.BAD_REQUEST, None),
    (Call.POLL, Found.REFUSED, P, 0, True, Action.RENDER_AGAIN, None, None),
    (Call.MESSAGE, Found.REFUSED, R, 3, True, FAIL, Reason.BAD_REQUEST, "request_refused"),
]


def ask(
    call: Call,
    what: Found,
    moment: Moment,
    attempt: int,
    *,
    anonymous: bool,
    elsewhere: bool = False,
) -> Decision:
    return decide(
        call,
        what,
        moment,
        attempt=attempt,
        anonymous=anonymous,
        elsewhere=elsewhere,
        rate_limit_wait=30,
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}-{row[1]}-{row[2]}-{row[3]}")
def test_row(row: tuple[Call, Found, Moment, int, bool, Action, Reason | None, str | None]) -> None:
    call, what, moment, attempt, anonymous, action, reason, taken_back = row
    decision = ask(call, what, moment, attempt, anonymous=anonymous)
    assert (decision.action, decision.reason, decision.taken_back) == (action, reason, taken_back)


def test_every_case_has_an_answer_and_a_reason_where_one_is_due() -> None:
    for call in Call:
        for what in Found:
            for moment in Moment:
                for attempt in (0, 1, REFUSALS_TOLERATED, 1000):
                    decision = ask(call, what, moment, attempt, anonymous=False)
                    stands_still = decision.action in (HOLD, FAIL)
                    assert (decision.reason is not None) == stands_still
                    if decision.reason is not None:
                        assert (decision.reason in HOLDS) == (decision.action is HOLD)


def test_a_message_that_may_have_been_charged_is_never_taken_back_or_repeated() -> None:
    for what in (Found.SERVER_FAILED, Found.NO_ANSWER, Found.BAD_ANSWER):
        for attempt in range(10):
            decision = ask(Call.MESSAGE, what, R, attempt, anonymous=True)
            assert (decision.action, decision.taken_back) == (Action.SETTLE, None)


def test_what_the_client_says_of_the_charge_is_what_the_policy_does() -> None:
    """For every failure of a message: taken back if, and only if, it cannot have been charged."""
    kinds = [kind for kind in NemoError.__subclasses__() if kind is not Refusal]
    for kind in [*kinds, *Refusal.__subclasses__()]:
        for status in (None, 200, 400, 500):
            error = kind(Call.MESSAGE, status=status, code=4242)
            decision = ask(Call.MESSAGE, found(error), R, 0, anonymous=False)
            assert (decision.taken_back is None) == error.maybe_charged, (kind, status)


def test_nothing_is_taken_back_once_the_message_was_out() -> None:
    for call in Call:
        for what in Found:
            for moment in (U, P):
                assert ask(call, what, moment, 0, anonymous=True).taken_back is None


def test_waits_grow_to_a_bound() -> None:
    waits = [growing_wait(n) for n in range(2000)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (1, LONGEST_WAIT)


@pytest.mark.parametrize("what", [Found.TOKEN_REFUSED, Found.OUT_OF_CREDITS])
@pytest.mark.parametrize(("call", "moment"), [(Call.SESSION, U), (Call.MESSAGE, R)])
def test_what_has_not_paid_goes_to_an_account_that_can_take_it(
    what: Found, call: Call, moment: Moment
) -> None:
    decision = ask(call, what, moment, 0, anonymous=False, elsewhere=True)
    assert decision.action is Action.NEW_ACCOUNT
    assert (decision.taken_back is not None) == (moment is R)


@pytest.mark.parametrize("what", [Found.FILE_TYPE, Found.FILE_SIZE])
def test_a_word_about_files_fails_no_render(what: Found) -> None:
    assert ask(Call.POLL, what, P, 0, anonymous=False).action is Action.RENDER_AGAIN
    assert ask(Call.EXPORT, what, P, 0, anonymous=False).action is Action.REPEAT


def test_a_client_id_that_is_refused_is_for_a_person() -> None:
    decision = ask(Call.TOKEN, Found.CLIENT_ID_MISSING, U, REFUSALS_TOLERATED, anonymous=True)
    assert (decision.action, decision.reason) == (HOLD, Reason.TOKEN)
