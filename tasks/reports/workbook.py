"""Results as a spreadsheet (.xlsx), with links to the clips and the posters.

The rows are written one at a time, and not held in memory. Texts are written to cells of the type
text, which no spreadsheet program takes for formulas.
"""

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import xlsxwriter

from tasks.reports.export import COLUMNS, table_row
from tasks.reports.near_files import path_to_near_file
from tasks.schema.result import Result

MAX_LINKS: Final = 65_530
"""The most links that Excel reads in a sheet. Further addresses are only texts."""
_MAX_ADDRESS: Final = 2_000
_MAX_TEXT: Final = 32_767
"""The longest text that Excel reads in a cell, in UTF-16 units."""
_NOT_XML: Final = re.compile("[\ud800-\udfff\ufffe\uffff]")
_LINKS: Final = ("url", "poster", "link", "poster_link")
_UNSAFE: Final = frozenset("#%")
"""Characters of a path that a spreadsheet program would read as parts of an address."""
_MIN_WIDTH: Final = 8
_MAX_WIDTH: Final = 60


def write_workbook(
    title: str,
    own_columns: Iterable[str],
    results: Iterable[Result],
    path: Path,
    folder: Path | None,
) -> None:
    """Write a workbook with one row per job.

    Args:
        title: The title of the workbook.
        own_columns: The columns that the caller's rows have of their own, for the header.
        results: The records.
        path: The file to write.
        folder: The folder of the file, for relative links; None if it has none.
    """
    columns = list(dict.fromkeys((*COLUMNS, *own_columns)))
    # The poster follows the clip.
    columns.insert(columns.index("url") + 1, "poster")
    book = xlsxwriter.Workbook(
        path,
        {"constant_memory": True, "strings_to_urls": False, "tmpdir": str(path.parent)},
    )
    book.set_properties({"title": _text(title)})
    sheet = _Sheet(book, folder)
    sheet.write_header(columns)
    for result in results:
        fields = table_row(result)
        if result.video is not None:
            fields["poster"] = result.video.poster
        sheet.write_row([(name, fields.get(name)) for name in columns])
    sheet.finish()
    book.close()


class _Sheet:
    """The sheet of a workbook, which is written from top to bottom."""

    def __init__(self, book: xlsxwriter.Workbook, folder: Path | None) -> None:
        self._sheet = book.add_worksheet("Clips")
        self._bold = book.add_format({"bold": True})
        self._folder = folder
        self._widths: list[int] = []
        self._rows = 0
        self._links = 0

    def write_header(self, columns: list[str]) -> None:
        self._widths = [len(column) for column in columns]
        for column, name in enumerate(columns):
            self._sheet.write_string(0, column, _text(name), self._bold)
        self._sheet.freeze_panes(1, 0)

    def write_row(self, cells: list[tuple[str, object]]) -> None:
        self._rows += 1
        for column, (name, value) in enumerate(cells):
            self._write(column, name, value)

    def finish(self) -> None:
        """Set the widths of the columns and the filter, which depend on all rows."""
        for column, width in enumerate(self._widths):
            self._sheet.set_column(column, column, min(max(width + 2, _MIN_WIDTH), _MAX_WIDTH))
        self._sheet.autofilter(0, 0, self._rows, len(self._widths) - 1)

    def _write(self, column: int, name: str, value: object) -> None:
        match value:
            case None | "":
                return
            case bool():
                self._sheet.write_boolean(self._rows, column, value)
            case int() | float() if math.isfinite(value) and abs(value) < 10**15:
                self._sheet.write_number(self._rows, column, value)
            case _:
                self._write_text(column, name, _text(str(value)))
        self._widths[column] = max(self._widths[column], len(str(value)))

    def _write_text(self, column: int, name: str, text: str) -> None:
        link = _link(text, self._folder) if name in _LINKS else ""
        if link and self._links < MAX_LINKS:
            self._links += 1
            self._sheet.write_url(self._rows, column, link, string=text)
        else:
            self._sheet.write_string(self._rows, column, text)


def _link(address: str, folder: Path | None) -> str:
    """Return a link as the writer takes it: relative to a near file; empty if none opens."""
    scheme = urlsplit(address).scheme
    if len(address) > _MAX_ADDRESS or scheme not in ("http", "https", "file"):
        return ""
    if scheme != "file":
        return address
    path = path_to_near_file(address, folder)
    if path is not None and _UNSAFE.isdisjoint(str(path)):
        return f"external:{path}"
    # The writer makes Windows paths of addresses that start with "file:" in lower case.
    return f"FILE{address.removeprefix('file')}"


def _text(text: str) -> str:
    """Return a text that a cell can hold."""
    text = _NOT_XML.sub("\ufffd", text)
    units = text.encode("utf-16-le")
    if len(units) <= 2 * _MAX_TEXT:
        return text
    return units[: 2 * _MAX_TEXT - 2].decode("utf-16-le", "ignore") + "…"
