"""Classifying codes and statuses in every style of response."""

import json
from email.utils import formatdate
from typing import Any

import pytest

from worker.egress.retry_after import retry_after
from worker.nemo.envelope import RawResponse, envelope_code, message_of, read_envelope
from worker.nemo.errors import (
    BadAnswer,
    Call,
    ClientIdMissing,
    FileTooLarge,
    FileTypeRefused,
    NemoError,
    OtherRefusal,
    OutOfCredits,
    PlanRefused,
    RateLimited,
    ServerFailed,
    SessionNotFound,
    TokenRefused,
)

NOW = 1_700_000_000.0
HTML = b"<html><body>502 Bad Gateway</body></html>"
CODES: dict[int, type[NemoError]] = {
    1001: TokenRefused,
    1010: TokenRefused,
    1011: TokenRefused,
    1002: SessionNotFound,
    2001: OutOfCredits,
    4001: FileTypeRefused,
    4002: FileTooLarge,
    401: TokenRefused,
    402: PlanRefused,
    429: RateLimited,
    500: ServerFailed,
}


def read(call: Call, status: int, body: bytes, **headers: str) -> dict[str, Any]:
    return read_envelope(call, RawResponse(status, headers, body), clock=lambda: NOW)


def refused(call: Call, status: int, body: bytes, **headers: str) -> NemoError:
    with pytest.raises(NemoError) as caught:
        read(call, status, body, **headers)
    assert caught.value.call is call
    assert caught.value.status == status
    return caught.value


@pytest.mark.parametrize("call", [Call.MESSAGE, Call.UPLOAD, Call.POLL])
@pytest.mark.parametrize("spelled", [int, str, float])
@pytest.mark.parametrize("status", [200, 400, 403, 404])
@pytest.mark.parametrize("code", CODES)
def test_code_in_the_envelope_takes_precedence_over_the_status(
    code: int, status: int, spelled: type, call: Call
) -> None:
    """Every code, with HTTP 200 and a 4xx, as a number and as a string."""
    body = json.dumps({"code": spelled(code), "message": "why", "data": None}).encode()
    error = refused(call, status, body)
    assert type(error) is CODES[code]
    assert error.code == code
    assert error.message == "why"


@pytest.mark.parametrize("body", [b"", HTML, b"null", b"[]", b'{"detail": "no"}', b'{"code": 0}'])
@pytest.mark.parametrize(
    ("status", "call", "kind"),
    [
        (400, Call.TOKEN, ClientIdMissing),
        (400, Call.SESSION, OtherRefusal),
        (401, Call.STATE, TokenRefused),
        (402, Call.EXPORT, PlanRefused),
        (403, Call.STATE, OtherRefusal),
        (404, Call.STATE, SessionNotFound),
        (404, Call.MESSAGE, SessionNotFound),
        (404, Call.UPLOAD, SessionNotFound),
        (404, Call.POLL, OtherRefusal),
        (404, Call.CREDITS, OtherRefusal),
        (413, Call.UPLOAD, FileTooLarge),
        (422, Call.MESSAGE, OtherRefusal),
        (429, Call.MESSAGE, RateLimited),
        (500, Call.MESSAGE, ServerFailed),
        (503, Call.POLL, ServerFailed),
        (302, Call.MESSAGE, BadAnswer),
    ],
)
def test_status_decides_where_there_is_no_documented_code(
    status: int, call: Call, kind: type[NemoError], body: bytes
) -> None:
    """With an empty body, HTML, other JSON, or an envelope that claims success."""
    assert type(refused(call, status, body)) is kind


@pytest.mark.parametrize("status", [200, 400])
def test_undocumented_code_is_another_refusal(status: int) -> None:
    error = refused(Call.UPLOAD, status, b'{"code": 7777, "message": "why"}')
    assert type(error) is OtherRefusal
    assert (error.code, error.message) == (7777, "why")


def test_undocumented_code_does_not_override_the_status() -> None:
    """A message with HTTP 500 stays maybe charged, whatever the unknown code."""
    error = refused(Call.MESSAGE, 500, b'{"code": 7777}')
    assert isinstance(error, ServerFailed)
    assert error.code == 7777
    assert error.maybe_charged


@pytest.mark.parametrize("body", [b"", HTML, b"[]", b"7", b'"x"', b"{", b"[" * 100_000, b"\xff"])
def test_unreadable_success_is_a_bad_answer(body: bytes) -> None:
    assert isinstance(refused(Call.CREDITS, 200, body), BadAnswer)


@pytest.mark.parametrize("code", ['"SUCCESS"', "true", "[]", "0.5"])
def test_code_that_is_not_a_number_is_a_bad_answer(code: str) -> None:
    assert isinstance(refused(Call.CREDITS, 200, b'{"code": %s}' % code.encode()), BadAnswer)


@pytest.mark.parametrize(
    "body", [b'{"code": 0}', b'{"code": "0"}', b'{"code": null}', b'{"status": "pending"}']
)
def test_successful_envelope(body: bytes) -> None:
    assert read(Call.POLL, 200, body) == json.loads(body)


@pytest.mark.parametrize(
    ("code", "expected"),
    [(0, 0), ("0", 0), (" 1001 ", 1001), (2001.0, 2001), ("9" * 5000, None), (None, None)],
)
def test_code_is_read_from_any_type(code: object, expected: int | None) -> None:
    assert envelope_code({"code": code}) == expected


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"message": "a", "error": "b"}, "a"),
        ({"msg": "a"}, "a"),
        ({"detail": "a"}, "a"),
        ({"detail": [{"loc": ["x"]}]}, "[{'loc': ['x']}]"),
        ({"error": {"message": "a"}}, "a"),
        ({"message": 7, "error": "b"}, "b"),
        ({}, ""),
    ],
)
def test_message_is_found_in_any_field(found: dict[str, Any], message: str) -> None:
    assert message_of(found) == message


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW + 90), 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        ("soon", None),
        ("604800", 604_800.0),
        ("604801", None),
        ("1e300", None),
        (formatdate(NOW + 10**9, usegmt=True), None),
        ("inf", None),
        ("-inf", None),
        ("nan", None),
        ("9" * 5000, None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    """Seconds, or an HTTP date relative to the given clock."""
    assert retry_after(value, now=NOW) == seconds


def test_rate_limit_has_its_retry_after() -> None:
    error = refused(Call.TOKEN, 429, b"", **{"retry-after": "12"})
    assert isinstance(error, RateLimited)
    assert error.retry_after == 12
    bare = refused(Call.TOKEN, 200, b'{"code": 429}')
    assert isinstance(bare, RateLimited)
    assert bare.retry_after is None
