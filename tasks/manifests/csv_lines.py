"""Lines of a CSV manifest: a header, then a row each."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from tasks.manifests.lines import NOT_UTF8, ManifestError, ManifestLine, is_text, open_text

_DELIMITERS: Final = ",;\t"
_MAX_CELL: Final = csv.field_size_limit()


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a CSV manifest: its columns as written, and the delimiter."""

    columns: tuple[str, ...]
    delimiter: str


def read_header(source: Path) -> Header:
    """Read the header of a CSV file.

    Raises:
        ManifestError: It has no column "image", or a column twice, or cannot be read.
    """
    with open_text(source) as file:
        first_line = file.readline()
        if "\0" in first_line or not is_text(first_line):
            raise ManifestError(f'{source} is not UTF-8 text: save it again as "CSV UTF-8".')
        file.seek(0)
        delimiter = max(_DELIMITERS, key=first_line.count)
        try:
            cells = next(csv.reader(file, delimiter=delimiter, strict=True), [])
        except csv.Error as error:
            raise ManifestError(f"{source}, line 1: {_csv_error(first_line, error)}.") from error
    columns = tuple(cell.strip() for cell in cells)
    names = [column.lower() for column in columns if column]
    if "image" not in names:
        raise ManifestError(
            f'The first line of a CSV manifest must name a column "image"; {source} has '
            f"{', '.join(map(repr, filter(None, columns))) or 'none'}."
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ManifestError(f"{source} names a column twice: {', '.join(map(repr, repeated))}.")
    return Header(columns, delimiter)


def read_csv(source: Path, header: Header) -> Iterator[ManifestLine]:
    """Read the rows of a CSV file that follow its header and are not blank.

    Raises:
        ManifestError: The file cannot be opened.
    """
    with open_text(source) as file:
        text = _LineRecorder(file)
        reader = csv.reader(text, delimiter=header.delimiter, strict=True)
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
    named = zip(header.columns, map(str.strip, cells), strict=False)
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
