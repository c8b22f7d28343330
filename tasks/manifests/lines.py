"""Lines: what a manifest holds before its lines are read as jobs."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

ROW_COLUMN: Final = "rejected_row"
REASON_COLUMN: Final = "rejected_reason"
TEXT_COLUMN: Final = "rejected_text"
REJECTS_COLUMNS: Final = frozenset({ROW_COLUMN, REASON_COLUMN, TEXT_COLUMN})
"""Columns that files of rejected rows add. They are no part of a job."""

MAX_NUMBER: Final = 2**31 - 1
MAX_LISTED: Final = 20
"""The most columns that a message names."""
BYTE_ORDER_MARK: Final = "\ufeff"
_INVISIBLE_EDGES: Final = re.compile(r"^[\s\u200b\u2060\ufeff]+|[\s\u200b\u2060\ufeff]+$")


class ManifestError(ValueError):
    """The manifest cannot be read. The text says what to do."""


@dataclass(frozen=True, slots=True)
class ManifestLine:
    """One line of a manifest, with the row that it holds.

    Attributes:
        number: Its number in the file, from 1. In a folder, the position of the image by name.
        fields: Its values by column.
        raw: Its content as written, for a file of rejected rows: the cells of a CSV row, the
            object of a JSONL line, or a text that is neither.
        error: Why it cannot be read.
    """

    number: int
    fields: Mapping[str, object] = field(default_factory=dict)
    raw: tuple[str, ...] | Mapping[str, object] | str = ""
    error: str = ""

    @property
    def original_number(self) -> int:
        """Its number in the manifest that it was rejected from, else its own: it orders results."""
        value = str(self.fields.get(ROW_COLUMN, ""))
        if value.isdecimal() and len(value) < len(str(MAX_NUMBER)):
            return int(value)
        return self.number


def is_text(text: str) -> bool:
    """Return whether a text can be encoded as UTF-8, which bytes that were not UTF-8 cannot."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def strip_cell(text: str) -> str:
    """Return a text without spaces and invisible characters around it."""
    return text.strip() if text.isascii() else _INVISIBLE_EDGES.sub("", text)


def listed(columns: Iterable[str]) -> str:
    """Return the first of some columns, joined for a message."""
    shown = list(islice(columns, MAX_LISTED + 1))
    return ", ".join([*shown[:MAX_LISTED], *(["…"] if len(shown) > MAX_LISTED else [])])
