"""What each failure says: repeatable or not, charged or not, and no token."""

import pickle

import pytest

from worker.nemo import errors
from worker.nemo.errors import (
    MESSAGE_LIMIT,
    BadAnswer,
    Call,
    NemoError,
    NoAnswer,
    OtherRefusal,
    OutOfCredits,
    RateLimited,
    ServerFailed,
    Unreachable,
    sanitize,
)

KINDS: list[type[NemoError]] = [
    found
    for name, found in vars(errors).items()
    if isinstance(found, type) and issubclass(found, NemoError) and not name.startswith("_")
]
UNSETTLED = {NoAnswer, BadAnswer, ServerFailed}


@pytest.mark.parametrize("call", Call)
@pytest.mark.parametrize("kind", KINDS)
def test_money_rule(kind: type[NemoError], call: Call) -> None:
    """Only a message may have been charged, and what may have been is never repeated."""
    error = kind(call, status=400)
    assert error.maybe_charged is (call is Call.MESSAGE and kind in UNSETTLED)
    if error.maybe_charged:
        assert not error.repeatable
    repeated = kind in {Unreachable, RateLimited} or (
        kind in UNSETTLED and call is not Call.MESSAGE
    )
    assert error.repeatable is repeated


@pytest.mark.parametrize(
    ("status", "code", "charged"),
    [(200, 7777, True), (200, 403, False), (403, 7777, False), (403, None, False)],
)
def test_undocumented_refusal_of_a_message_at_http_200_is_maybe_charged(
    status: int, code: int | None, charged: bool
) -> None:
    assert OtherRefusal(Call.MESSAGE, status=status, code=code).maybe_charged is charged
    assert not OtherRefusal(Call.STATE, status=status, code=code).maybe_charged


@pytest.mark.parametrize("kind", KINDS)
def test_sentence_for_people_stands_in_when_nothing_was_said(kind: type[NemoError]) -> None:
    error = kind(Call.STATE)
    assert error.message == error.sentence == (kind.__doc__ or "").splitlines()[0]
    assert str(error) == f"state: {error.sentence}"


def test_text_names_call_words_and_numbers() -> None:
    error = OutOfCredits(Call.MESSAGE, "insufficient credits", status=200, code=2001)
    assert str(error) == "message: insufficient credits (HTTP 200, code 2001)"


@pytest.mark.parametrize("secret", ["nmv_usr_abc-123", "clm_51be", "NMV_USR_ABC", "nmv_usr_a%b/c"])
def test_tokens_are_nowhere_in_an_error(secret: str) -> None:
    """Not in the text, the repr, the arguments or the attributes; nor half of one at the cut."""
    for padding in (0, MESSAGE_LIMIT - 12, MESSAGE_LIMIT):
        error = NoAnswer(Call.TOKEN, "x" * padding + f" {secret} and {secret}")
        everything = f"{error!s} {error!r} {error.args} {vars(error)}".lower()
        assert secret.lower()[:8] not in everything


def test_words_are_one_line_and_cut() -> None:
    assert sanitize("a\n  b\tc") == "a b c"
    assert len(sanitize("x" * 10_000)) == MESSAGE_LIMIT


def test_error_survives_pickling() -> None:
    """Prefork workers hand exceptions between processes."""
    error = RateLimited(Call.TOKEN, "slow down", status=429, code=7)
    error.retry_after = 3.0
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 -- our own pickle
    assert (type(copy), str(copy), vars(copy)) == (RateLimited, str(error), vars(error))
