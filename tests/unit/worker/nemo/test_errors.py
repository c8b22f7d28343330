"""Each error: whether it is repeatable, whether it may be charged, and no token in it."""

import pickle

import pytest

from worker.nemo import errors
from worker.nemo.errors import (
    MAX_MESSAGE,
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
OUTCOME_UNKNOWN = {NoAnswer, BadAnswer, ServerFailed}


@pytest.mark.parametrize("call", Call)
@pytest.mark.parametrize("kind", KINDS)
def test_repeatable_and_maybe_charged(kind: type[NemoError], call: Call) -> None:
    """Only a message may be charged, and what may be charged is never repeatable."""
    error = kind(call, status=400)
    assert error.maybe_charged is (call is Call.MESSAGE and kind in OUTCOME_UNKNOWN)
    if error.maybe_charged:
        assert not error.repeatable
    repeated = kind in {Unreachable, RateLimited} or (
        kind in OUTCOME_UNKNOWN and call is not Call.MESSAGE
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
def test_default_message_is_used_when_the_api_sent_none(kind: type[NemoError]) -> None:
    error = kind(Call.STATE)
    assert error.message == error.default_message == (kind.__doc__ or "").splitlines()[0]
    assert str(error) == f"state: {error.default_message}"


def test_text_shows_call_message_and_numbers() -> None:
    error = OutOfCredits(Call.MESSAGE, "insufficient credits", status=200, code=2001)
    assert str(error) == "message: insufficient credits (HTTP 200, code 2001)"


@pytest.mark.parametrize("secret", ["nmv_usr_abc-123", "clm_51be", "NMV_USR_ABC", "nmv_usr_a%b/c"])
def test_no_token_is_anywhere_in_an_error(secret: str) -> None:
    """Not in the text, the repr, the arguments or the attributes, nor half of one at the cut."""
    for padding in (0, MAX_MESSAGE - 12, MAX_MESSAGE):
        error = NoAnswer(Call.TOKEN, "x" * padding + f" {secret} and {secret}")
        everything = f"{error!s} {error!r} {error.args} {vars(error)}".lower()
        assert secret.lower()[:8] not in everything


def test_message_is_one_line_and_cut() -> None:
    assert sanitize("a\n  b\tc") == "a b c"
    assert len(sanitize("x" * 10_000)) == MAX_MESSAGE


def test_error_survives_pickling() -> None:
    """Prefork workers send exceptions between processes."""
    error = RateLimited(Call.TOKEN, "slow down", status=429, code=7)
    error.retry_after = 3.0
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 -- our own pickle
    assert (type(copy), str(copy), vars(copy)) == (RateLimited, str(error), vars(error))
