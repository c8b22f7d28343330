"""Single fields of a record, which are all text."""

from collections.abc import Mapping


def int_of(fields: Mapping[str, str], name: str) -> int:
    """A number; 0 where it is missing."""
    return int(fields.get(name) or 0)


def float_or_none(text: str | None) -> float | None:
    """A number, or None where it is missing or empty."""
    return float(text) if text else None
