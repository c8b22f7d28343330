"""Values of fields, as people and spreadsheets write them."""

import re
from typing import Final

_TEXT_FIELDS: Final = frozenset(
    {"image", "prompt", "key", "aspect", "language", "priority", "webhook"}
)
_DECIMAL_COMMA: Final = re.compile(r"\d+,\d+")
_TIME_OF_DAY: Final = re.compile(r"0*(\d+):0*(\d+)(?::00)?")
"""What a spreadsheet makes of an aspect ratio: 9:16 becomes 09:16 or 09:16:00."""


def read_value(field: str, value: object) -> object:
    """Return a value as the job's model takes it, which reports what is wrong with it."""
    if field in _TEXT_FIELDS and isinstance(value, (int, float)) and not isinstance(value, bool):
        value = number_as_text(value)
    if not isinstance(value, str):
        return value
    text = value.strip()
    if field == "seconds" and _DECIMAL_COMMA.fullmatch(text):
        return text.replace(",", ".")
    if field == "aspect" and (ratio := _TIME_OF_DAY.fullmatch(text)):
        return f"{ratio[1]}:{ratio[2]}"
    if field == "attach":
        return [part.strip() for part in value.split(";") if part.strip()]
    return value


def number_as_text(number: float) -> str:
    """Return a number as people write it: spreadsheets store 12 as 12.0."""
    if isinstance(number, float) and number.is_integer() and abs(number) < 2**53:
        return str(int(number))
    return str(number)
