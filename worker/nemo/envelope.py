"""Reads the envelope of a response, and classifies a refusal by its code or HTTP status.

A refusal arrives as a ``code`` with HTTP 200, as a ``code`` with a 4xx status, or without a JSON
body (docs/video-api.md, "Every call"). A documented code takes precedence over the status.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from worker.egress.retry_after import retry_after
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

MAX_DEPTH: Final = 256
"""The most levels of nested JSON that are read.

Without a limit, JSON nested as deeply as the interpreter's stack allows could be parsed, but not
serialized later by a caller that is deeper in the stack.
"""

DONE = 0
"""The ``code`` of an envelope whose call succeeded."""

_BY_CODE: Mapping[int, type[NemoError]] = {
    1001: TokenRefused,
    1010: TokenRefused,
    1011: TokenRefused,
    1002: SessionNotFound,
    2001: OutOfCredits,
    4001: FileTypeRefused,
    4002: FileTooLarge,
}
_BY_STATUS: Mapping[int, type[NemoError]] = {
    401: TokenRefused,
    402: PlanRefused,
    413: FileTooLarge,
    429: RateLimited,
}
_CALLS_ON_A_SESSION = frozenset({Call.CLAIM, Call.UPLOAD, Call.MESSAGE, Call.STATE, Call.EXPORT})
_MESSAGE_FIELDS = ("message", "msg", "detail", "error", "errorMessage")
_INTEGER = re.compile(r"\s*-?\d{1,9}\s*")


@dataclass(frozen=True, slots=True)
class RawResponse:
    """A whole HTTP response, read into memory.

    Attributes:
        status: HTTP status.
        headers: Header fields; names are not case-sensitive.
        body: The body, without any content encoding.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


def envelope_code(found: Mapping[str, Any]) -> int | None:
    """Read ``code`` as a number, also from a string; None if it is missing or not a number."""
    code = found.get("code")
    if isinstance(code, bool):
        return None
    if isinstance(code, int):
        return code
    if isinstance(code, float) and code.is_integer():
        return int(code)
    if isinstance(code, str) and _INTEGER.fullmatch(code):
        return int(code)
    return None


def message_of(found: Mapping[str, Any]) -> str:
    """Find the message for people in any of its known fields; empty if there is none."""
    for name in _MESSAGE_FIELDS:
        value = found.get(name)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, dict):
            inner = value.get("message")
            return inner if isinstance(inner, str) else repr(value)
        if isinstance(value, list) and value:
            return repr(value)
    return ""


def parse_object(body: bytes | str) -> dict[str, Any] | None:
    """Parse a JSON object; None for anything else, and for one with over ``MAX_DEPTH`` levels."""
    try:
        # Control characters are allowed: older servers do not escape them.
        found = json.loads(body, strict=False)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and not _is_deeper(found, MAX_DEPTH) else None


def _is_deeper(found: dict[str, Any], levels: int) -> bool:
    """Return whether a JSON object has nested objects or arrays on more than ``levels`` levels."""
    containers: list[Any] = [found]
    for _ in range(levels):
        if not containers:
            return False
        containers = [
            inner
            for outer in containers
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(containers)


def read_envelope(
    call: Call, response: RawResponse, *, clock: Callable[[], float]
) -> dict[str, Any]:
    """Return the JSON object of a successful response; raise an error for any other.

    Args:
        call: The call that was made.
        response: The whole response.
        clock: Returns seconds since the epoch; for a ``Retry-After`` given as a date.

    Raises:
        Refusal: The API refused: a non-zero code, or a status of 400 or more.
        BadAnswer: The response is a redirect, its body is not a JSON object, or its code is not a
            number.
    """
    found = parse_object(response.body)
    code = None if found is None else envelope_code(found)
    if response.status >= 300 or code not in (None, DONE):  # noqa: PLR2004 -- above HTTP's success statuses
        error = _classify(call, response.status, code)(
            call, message_of(found or {}), status=response.status, code=code
        )
        if isinstance(error, RateLimited):
            error.retry_after = retry_after(response.headers.get("retry-after"), now=clock())
        raise error
    if found is None:
        content_type = response.headers.get("content-type")
        received = f" but {content_type}" if content_type else ""
        raise BadAnswer(call, f"not a JSON object{received}", status=response.status)
    if code is None and found.get("code") is not None:
        raise BadAnswer(call, "the code of the envelope is not a number", status=response.status)
    return found


def _classify(call: Call, status: int, code: int | None) -> type[NemoError]:
    if code is not None and code in _BY_CODE:
        return _BY_CODE[code]
    # A gateway that gave up on a message may send any code; the message may still run.
    if call is Call.MESSAGE and status >= 500:  # noqa: PLR2004 -- HTTP's server errors
        return ServerFailed
    # Some refusals repeat an HTTP status as the code, with HTTP 200.
    effective = code if code is not None and 400 <= code < 600 else status  # noqa: PLR2004 -- HTTP's errors
    return _BY_STATUS.get(effective) or _by_range(call, effective)


def _by_range(call: Call, status: int) -> type[NemoError]:
    match status:
        case 400 if call is Call.TOKEN:
            return ClientIdMissing
        case 404 if call in _CALLS_ON_A_SESSION:
            return SessionNotFound
        case _ if status >= 500:  # noqa: PLR2004 -- HTTP's server errors
            return ServerFailed
        case _ if 300 <= status < 400:  # noqa: PLR2004 -- HTTP's redirects
            return BadAnswer
        case _:
            return OtherRefusal
