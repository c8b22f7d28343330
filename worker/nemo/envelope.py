"""Reads the envelope of an answer, and tells a refusal by its code or its status.

A refusal comes as a ``code`` at HTTP 200, as a ``code`` at a 4xx, or with no JSON body at all
(contract, "Every call"). A documented code wins over the status.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final

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

LONGEST_REST: Final = 7 * 86_400
"""Seconds that the API may ask to wait: its own longest limit lasts seven days."""

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
_NAMES_A_SESSION = frozenset({Call.CLAIM, Call.UPLOAD, Call.MESSAGE, Call.STATE, Call.EXPORT})
_WORDS = ("message", "msg", "detail", "error", "errorMessage")
_INTEGER = re.compile(r"\s*-?\d{1,9}\s*")


@dataclass(frozen=True, slots=True)
class RawResponse:
    """A whole HTTP answer, read into memory.

    Attributes:
        status: HTTP status.
        headers: Header fields; looked up without regard to case.
        body: The body, without any content encoding.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


def envelope_code(found: Mapping[str, Any]) -> int | None:
    """Read ``code`` as a number, also from a string; None where there is none to read."""
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
    """Find what an answer says for people, wherever it says it; empty if it says nothing."""
    for name in _WORDS:
        said = found.get(name)
        if isinstance(said, str) and said.strip():
            return said
        if isinstance(said, dict):
            inner = said.get("message")
            return inner if isinstance(inner, str) else repr(said)
        if isinstance(said, list) and said:
            return repr(said)
    return ""


def parse_object(body: bytes | str) -> dict[str, Any] | None:
    """Read a JSON object; None for anything else, however it is broken."""
    try:
        # Not strict about control characters: older servers leave them unescaped.
        found = json.loads(body, strict=False)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def read_envelope(call: Call, answer: RawResponse, *, clock: Callable[[], float]) -> dict[str, Any]:
    """Return the JSON object of a successful answer, or raise what the answer means.

    Args:
        call: The call that was answered.
        answer: The whole answer.
        clock: Now, in seconds since the epoch; for a ``Retry-After`` given as a date.

    Raises:
        Refusal: The API refused: a non-zero code, or a status of 400 and more.
        BadAnswer: The answer is not a JSON object, is a redirect, or has an unreadable code.
    """
    found = parse_object(answer.body)
    code = None if found is None else envelope_code(found)
    if answer.status >= 300 or code not in (None, DONE):  # noqa: PLR2004 -- the end of HTTP's successes
        raise _refusal(call, answer, found, code, clock)
    if found is None:
        raise BadAnswer(call, f"not a JSON object{_kind(answer)}", status=answer.status)
    if code is None and found.get("code") is not None:
        raise BadAnswer(call, "the code of the envelope is not a number", status=answer.status)
    return found


def retry_after(value: str | None, *, now: float) -> float | None:
    """Read ``Retry-After``, seconds or an HTTP date, as seconds from now; None if unreadable.

    Longer than any limit lasts is no answer either: an account would rest for good.

    Args:
        value: The header's value, if it was sent.
        now: Seconds since the epoch.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _until(value, now)
    return max(0.0, seconds) if math.isfinite(seconds) and seconds <= LONGEST_REST else None


def _until(date: str, now: float) -> float:
    """Count the seconds from now to an HTTP date; not a number if it is none."""
    try:
        moment = parsedate_to_datetime(date)
        # "-0000" gives a moment without a zone; HTTP dates are in GMT.
        zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return zoned.timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return math.nan


def _refusal(
    call: Call,
    answer: RawResponse,
    found: Mapping[str, Any] | None,
    code: int | None,
    clock: Callable[[], float],
) -> NemoError:
    kind = _classify(call, answer.status, code)
    said = message_of(found) if found is not None else ""
    error = kind(call, said, status=answer.status, code=code)
    if isinstance(error, RateLimited):
        error.retry_after = retry_after(answer.headers.get("retry-after"), now=clock())
    return error


def _classify(call: Call, status: int, code: int | None) -> type[NemoError]:
    if code is not None and code in _BY_CODE:
        return _BY_CODE[code]
    # A gateway that gave up on a message may speak of anything; the message may still run.
    if call is Call.MESSAGE and status >= 500:  # noqa: PLR2004 -- HTTP's server errors
        return ServerFailed
    # Some failures repeat an HTTP status as the code, at HTTP 200.
    meant = code if code is not None and 400 <= code < 600 else status  # noqa: PLR2004 -- HTTP's errors
    return _BY_STATUS.get(meant) or _by_range(call, meant)


def _by_range(call: Call, status: int) -> type[NemoError]:
    match status:
        case 400 if call is Call.TOKEN:
            return ClientIdMissing
        case 404 if call in _NAMES_A_SESSION:
            return SessionNotFound
        case _ if status >= 500:  # noqa: PLR2004 -- HTTP's server errors
            return ServerFailed
        case _ if 300 <= status < 400:  # noqa: PLR2004 -- HTTP's redirects
            return BadAnswer
        case _:
            return OtherRefusal


def _kind(answer: RawResponse) -> str:
    kind = answer.headers.get("content-type")
    return f" but {kind}" if kind else ""
