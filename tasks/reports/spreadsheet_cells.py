"""Cells of CSV files that spreadsheets do not run as formulas."""

import csv
from collections.abc import Iterable
from typing import Final, TextIO

_FORMULA_STARTS: Final = tuple("=+-@＝＋－＠")  # noqa: RUF001 - the full-width forms count too
_CELL_STARTS: Final = ("\t", "\r", "\n")


def escape_formula(value: object) -> object:
    """Return a value that no spreadsheet reads as a formula, whoever wrote it.

    Spreadsheets skip spaces, line breaks and invisible characters before a formula.
    """
    if not isinstance(value, str):
        return value
    visible = (each for each in value if each.isprintable() and not each.isspace())
    if next(visible, "") in _FORMULA_STARTS or value.startswith(_CELL_STARTS):
        return f"'{value}"
    return value


class SpreadsheetWriter:
    """Writes CSV in which formulas are escaped in every cell, including the header."""

    def __init__(self, sink: TextIO) -> None:
        self._writer = csv.writer(sink)

    def write_row(self, cells: Iterable[object]) -> None:
        """Write one row."""
        self._writer.writerow(
            [
                # Most cells are not texts, or start with a letter or a digit, as no formula does.
                cell if not isinstance(cell, str) or cell[:1].isalnum() else escape_formula(cell)
                for cell in cells
            ]
        )
