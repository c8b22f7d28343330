"""Lines of a CSV manifest: a header, then a row each."""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from tasks.manifests.lines import (
    NOT_UTF8,
    ManifestError,
    ManifestLine,
    is_text,
    listed,
    open_text,
    strip_cell,
)

_DELIMITERS: Final = ",;\t"
_QUOTED: Final = re.compile(r'"[^"]*(?:"|$)')
_MAX_HEADER: Final = 2**20
"""The longest first line, in characters."""
_MAX_CELL: Final = csv.field_size_limit()


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a CSV manifest: its columns as written, and the delimiter."""

    columns: tuple[str, ...]
    delimiter: str

    @property
    def names(self) -> list[str]:
        """The columns that have a name, in lower case."""
        return [column.lower() for column in self.columns if column]


def read_header(source: Path) -> Header:
    """Read the header of a CSV file.

    Raises:
        ManifestError: It has no column "image", or a column twice, or cannot be read.
    """
    with open_text(source) as file:
        start = file.tell()
        first_line = file.readline(_MAX_HEADER + 1)
        if "\0" in first_line or not is_text(first_line):
            raise ManifestError(f'{source} is not UTF-8 text: save it again as "CSV UTF-8".')
        if len(first_line) > _MAX_HEADER:
            raise ManifestError(f"The first line of {source} has over {_MAX_HEADER:,} characters.")
        headers = []
        for delimiter in _delimiters(first_line):
            file.seek(start)
            try:
                cells = next(
                    csv.reader(file, delimiter=delimiter, strict=True, skipinitialspace=True), []
                )
            except csv.Error as error:
                problem = _csv_error(first_line, error)
            else:
                headers.append(Header(tuple(map(strip_cell, cells)), delimiter))
    if not headers:
        raise ManifestError(f"{source}, line 1: {problem}.")
    header = next((header for header in headers if "image" in header.names), headers[0])
    if "image" not in header.names:
        raise ManifestError(
            f'The first line of a CSV manifest must name a column "image"; {source} has '
            f"{listed(map(repr, filter(None, header.columns))) or 'none'}."
        )
    repeated = sorted(name for name, n in Counter(header.names).items() if n > 1)
    if repeated:
        raise ManifestError(f"{source} names a column twice: {listed(map(repr, repeated))}.")
    return header


def _delimiters(first_line: str) -> list[str]:
    """Return the delimiters, that of most cells outside of quotes first."""
    unquoted = _QUOTED.sub("", first_line)
    return sorted(_DELIMITERS, key=unquoted.count, reverse=True)


def read_csv(source: Path, header: Header) -> Iterator[ManifestLine]:
    """Read the rows of a CSV file that follow its header and are not blank.

    Raises:
        ManifestError: The file cannot be opened.
    """
    with open_text(source) as file:
        text = _LineRecorder(file)
        reader = csv.reader(text, delimiter=header.delimiter, strict=True, skipinitialspace=True)
        next(reader, None)
        while True:
            number = reader.line_num + 1
            text.lines.clear()
            try:
                cells = next(reader, None)
            except csv.Error as error:
                reason = _unreadable(number, text, error)
                yield ManifestLine(number, raw=str(text).rstrip(), error=reason)
                continue
            if cells is None:
                return
            if any(cell.strip() for cell in cells):
                yield _line(number, cells, header, text)


class _LineRecorder:
    """Passes the lines of a file to the CSV reader, and keeps those of the present row."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.lines: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._file)
        self.lines.append(line)
        return line

    def __str__(self) -> str:
        return "".join(self.lines)


def _line(number: int, cells: list[str], header: Header, text: _LineRecorder) -> ManifestLine:
    width = len(header.columns)
    # Spreadsheets often pad rows with empty cells.
    while len(cells) > width and not cells[-1].strip():
        cells.pop()
    raw = tuple(cells)
    if not is_text(str(text)):
        return ManifestLine(number, raw=raw, error=NOT_UTF8)
    if len(cells) > width:
        reason = (
            f"the row has {len(cells)} cells, the header {width}: put text that holds a "
            f"{header.delimiter!r} in double quotes"
        )
        return ManifestLine(number, raw=raw, error=reason)
    named = zip(header.columns, map(strip_cell, cells), strict=False)
    return ManifestLine(number, {name: cell for name, cell in named if name}, raw)


def _unreadable(number: int, text: _LineRecorder, error: csv.Error) -> str:
    last = number + len(text.lines) - 1
    where = f" (lines {number} to {last} were read as one row)" if last > number else ""
    return f"the row cannot be read: {_csv_error(str(text), error)}{where}"


def _csv_error(text: str, error: csv.Error) -> str:
    if len(text) <= _MAX_CELL:
        return f"its double quotes do not match: {error}"
    unclosed = "; is a double quote not closed?" if '"' in text else ""
    return f"it has a cell of more than {_MAX_CELL:,} characters{unclosed}"
