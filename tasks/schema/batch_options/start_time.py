"""The time before which no job of a batch starts, as people write it."""

import re
from datetime import UTC, datetime, time, timedelta
from typing import Final

from tasks.schema.errors import InvalidPayloadError

_CLOCK_TIME: Final = re.compile(r"(\d{1,2}):(\d{2})")
_FORMS: Final = 'such as 22:00, 2026-12-01T22:00, 2026-12-01T22:00+01:00, or "now"'


def read_start_time(text: str, now: datetime) -> datetime:
    """Return the time that a text names, in UTC.

    Args:
        text: ``HH:MM``, which is the next time when the local clock shows this; an ISO 8601 date or
            time, local unless it has an offset; or ``now``.
        now: The current time.

    Raises:
        InvalidPayloadError: The text is none of these.
    """
    text = text.strip()
    try:
        if text.lower() == "now":
            return now.astimezone(UTC)
        if clock := _CLOCK_TIME.fullmatch(text):
            return _next(time(int(clock[1]), int(clock[2])), now)
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise InvalidPayloadError([f"not_before: must be a time {_FORMS}, not {text!r}"]) from None


def _next(clock: time, now: datetime) -> datetime:
    """Return when the local clock shows a time next. A day may have 23 or 25 hours."""
    today = now.astimezone().date()
    for days in range(3):
        at = datetime.combine(today + timedelta(days=days), clock).astimezone(UTC)
        if at > now:
            return at
    raise AssertionError("the local clock shows each time within three days")
