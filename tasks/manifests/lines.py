"""Lines of manifests, before they are read as jobs."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

ROW_COLUMN: Final = "rejected_row"
REASON_COLUMN: Final = "rejected_reason"
TEXT_COLUMN: Final = "rejected_text"
REJECTS_COLUMNS: Final = frozenset({ROW_COLUMN, REASON_COLUMN, TEXT_COLUMN})
"""Columns that a file of rejected rows adds. They are not part of a job."""

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
        """Its number in the manifest that rejected it, else its own. Results are ordered by it."""
        value = str(self.fields.get(ROW_COLUMN, ""))
        if value.isdecimal() and len(value) < len(str(MAX_NUMBER)):
            return int(value)
        return self.number


def is_text(text: str) -> bool:
    """Return whether a text can be encoded as UTF-8. Bytes that could not be decoded cannot."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def strip_cell(text: str) -> str:
    """Strip spaces and invisible characters from both ends of a text."""
    return text.strip() if text.isascii() else _INVISIBLE_EDGES.sub("", text)


def listed(columns: Iterable[str]) -> str:
    """Return the first of some columns, joined for a message."""
    shown = list(islice(columns, MAX_LISTED + 1))
    return ", ".join([*shown[:MAX_LISTED], *(["…"] if len(shown) > MAX_LISTED else [])])
