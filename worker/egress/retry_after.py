"""The ``Retry-After`` header: the pause for which a server asks."""

import math
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

MAX_RETRY_AFTER: Final = 7 * 86_400
"""The longest ``Retry-After`` that is believed, in seconds: the video API's longest limit."""


def retry_after(value: str | None, *, now: float) -> float | None:
    """Read ``Retry-After``, in seconds or as an HTTP date, as seconds from now.

    Args:
        value: The header's value, if it was sent.
        now: Seconds since the epoch.

    Returns:
        None if it is missing, unreadable or over ``MAX_RETRY_AFTER``, which would stop an account
        for good.
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
