"""Cells of CSV files that people open in a spreadsheet."""

import csv
from collections.abc import Iterable
from typing import Final, TextIO

_FORMULA_SIGNS: Final = tuple("=+-@＝＋－＠")  # noqa: RUF001 - the full-width forms count too
_CELL_STARTS: Final = ("\t", "\r", "\n")


def disarm(value: object) -> object:
    """Return a value that no spreadsheet reads as a formula, whoever wrote it.

    Spreadsheets skip spaces, line breaks and invisible signs before a formula.
    """
    if not isinstance(value, str):
        return value
    visible = next((sign for sign in value if sign.isprintable() and not sign.isspace()), "")
    if visible in _FORMULA_SIGNS or value.startswith(_CELL_STARTS):
        return f"'{value}"
    return value


class SpreadsheetWriter:
    """Writes CSV in which every cell, those of the header too, is disarmed."""

    def __init__(self, sink: TextIO) -> None:
        self._writer = csv.writer(sink)

    def write_row(self, cells: Iterable[object]) -> None:
        """Write one row."""
        self._writer.writerow(
            [
                # Most cells are no texts, or begin with a letter or a digit, as no formula does.
                cell if not isinstance(cell, str) or cell[:1].isalnum() else disarm(cell)
                for cell in cells
            ]
        )
