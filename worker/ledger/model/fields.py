"""Single fields of a record, which are all text."""

import math
from collections.abc import Mapping
from typing import Final

MAX_TIMESTAMP_MS: Final = 253_402_300_800_000
"""The year 10000, in ms since the epoch."""


def int_of(fields: Mapping[str, str], name: str) -> int:
    """A number; 0 where it is missing."""
    return int(fields.get(name) or 0)


def int_or_zero(text: str | None) -> int:
    """A number; 0 where there is none that can be read."""
    try:
        return int(text or 0)
    except ValueError:
        return 0


def float_or_zero(text: str | None) -> float:
    """A number; 0 where there is none that can be read."""
    try:
        return float_or_none(text) or 0.0
    except ValueError:
        return 0.0


def float_or_none(text: str | None) -> float | None:
    """A number, or None where it is missing or empty.

    Raises:
        ValueError: It is no number, or no finite one.
    """
    if not text:
        return None
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number")
    return number


def timestamp_of(fields: Mapping[str, str], name: str) -> int:
    """A moment in ms since the epoch; 0 where it is missing.

    Raises:
        ValueError: It is none, or none that a calendar has.
    """
    moment = int_of(fields, name)
    if not 0 <= moment < MAX_TIMESTAMP_MS:
        raise ValueError(f"{name} is no moment: {moment}")
    return moment
