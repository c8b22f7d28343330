"""Texts for people about how long a batch will take, and when it will end at the latest."""

from datetime import datetime, timedelta
from typing import Final

from tasks.schema.batch import Batch

_MINUTE: Final = 60
_HOUR: Final = 3600


def time_left(batch: Batch) -> str:
    """Return how long the open jobs of a batch will take; empty if none of them will run."""
    if not batch.open or batch.paused:
        return ""
    return expected_time(batch.eta_seconds, batch.latest_seconds, "to go")


def expected_time(usual: float | None, latest: float | None, what: str = "") -> str:
    """Return an expected time for people.

    Args:
        usual: The estimate in seconds; None if there is none.
        latest: The seconds until the latest end; None if no worker is running.
        what: The words after the estimate.
    """
    if usual is None:
        return "the time left is not known: no worker is running"
    about = " ".join(filter(None, ("about", duration(usual), what)))
    if latest is None:
        return f"{about}; the latest end is not known, because no worker is running"
    return f"{about}, until {_clock_time(latest)} at the latest"


def duration(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours."""
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} hours"


def _clock_time(seconds: float) -> str:
    """Return the time of this machine after some seconds, with the date if that is another day."""
    now = datetime.now().astimezone()
    try:
        then = now + timedelta(seconds=seconds)
    except OverflowError:
        return "a time beyond the calendar"
    return f"{then:%H:%M}" if then.date() == now.date() else f"{then:%Y-%m-%d %H:%M}"
