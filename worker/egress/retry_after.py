"""The ``Retry-After`` header: how long a client should wait before its next request."""

import math
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

MAX_RETRY_AFTER: Final = 7 * 86_400
"""The longest ``Retry-After`` that is accepted, in seconds: the longest limit of the video API."""


def retry_after(value: str | None, *, now: float) -> float | None:
    """Return the seconds from now that a ``Retry-After`` header names, as a number or a date.

    Args:
        value: The header's value, if it was sent.
        now: Seconds since the epoch.

    Returns:
        None if the header is missing, cannot be read, or names more than ``MAX_RETRY_AFTER``, which
        would stop an account for good.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value, now)
    return max(0.0, seconds) if math.isfinite(seconds) and seconds <= MAX_RETRY_AFTER else None


def _seconds_until(date: str, now: float) -> float:
    """Return the seconds from now to an HTTP date; NaN if it is not one."""
    try:
        at = parsedate_to_datetime(date)
        # "-0000" gives a datetime without a zone; HTTP dates are in GMT.
        zoned = at if at.tzinfo else at.replace(tzinfo=UTC)
        return zoned.timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return math.nan
