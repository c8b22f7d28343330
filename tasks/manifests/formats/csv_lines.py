"""Lines of a table in a text file (CSV, TSV): a header, then the rows."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from tasks.manifests.columns import Columns, check_header
from tasks.manifests.formats.text_files import LongLineError, TextFile, TextLines, is_blank
from tasks.manifests.lines import ManifestError, ManifestLine, is_text, strip_cell

if TYPE_CHECKING:
    from _csv import Reader

DELIMITERS: Final = ",;\t"
"""The delimiters that a file may have without naming its own."""
_QUOTED: Final = re.compile(r'"[^"]*(?:"|$)')
_NAMED_DELIMITER: Final = re.compile(r'"?sep=([^"\r\n])"?[,;\t]*\s*', re.IGNORECASE)
"""A line that names the delimiter for Excel."""
_MAX_HEADER: Final = 2**20
"""The longest header line, in characters."""
_MAX_CELL: Final = csv.field_size_limit()


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a table.

    Attributes:
        columns: Its columns as written.
        delimiter: The character between cells.
        skipped: The number of lines before it.
    """

    columns: tuple[str, ...]
    delimiter: str
    skipped: int = 0


def read_header(source: TextFile, columns: Columns) -> Header:
    """Read the header of a table.

    Raises:
        ManifestError: It is missing, cannot be read, or has unclear columns.
    """
    skipped, delimiters, first_line = _before_header(source)
    if "\0" in first_line or not is_text(first_line):
        raise ManifestError(
            f"The header of {source.path} is not {source.encoding.name} text: save the file again "
            f'as "CSV UTF-8", or name its encoding with --encoding.'
        )
    if len(first_line) > _MAX_HEADER:
        raise ManifestError(f"The first line of {source.path} has over {_MAX_HEADER:,} characters.")
    headers, problem = [], ""
    for delimiter in delimiters:
        try:
            headers.append(_header(source, delimiter, skipped))
        except csv.Error as error:
            problem = _csv_error(first_line, error)
    if not headers:
        raise ManifestError(f"{source.path}, line {skipped + 1}: {problem}.")
    header = next((header for header in headers if columns.has_image(header.columns)), headers[0])
    check_header(source.path, columns, header.columns, header.delimiter)
    return header


def _before_header(source: TextFile) -> tuple[int, list[str], str]:
    """Return the number of lines before the header, the delimiters to try, and its first line."""
    named, skipped = None, 0
    with source.open() as lines:
        try:
            for line in lines:
                found = _NAMED_DELIMITER.fullmatch(line) if named is None else None
                if found is None and not is_blank(line):
                    return skipped, [named] if named else _delimiters(line), line
                named = found[1] if found else named
                skipped += 1
        except LongLineError as error:
            raise ManifestError(f"{source.path}, line {skipped + 1}: {error}.") from None
    return skipped, [named or ","], ""


def _delimiters(first_line: str) -> list[str]:
    """Return the delimiters, the most frequent one outside of quotes first."""
    unquoted = _QUOTED.sub("", first_line)
    return sorted(DELIMITERS, key=unquoted.count, reverse=True)


def _header(source: TextFile, delimiter: str, skipped: int) -> Header:
    with source.open() as lines:
        cells: list[str] = next(_reader(_after(lines, skipped), delimiter), [])
    return Header(tuple(map(strip_cell, cells)), delimiter, skipped)


def _after(lines: TextLines, skipped: int) -> TextLines:
    for _ in range(skipped):
        next(lines, None)
    return lines


def _reader(lines: Iterator[str], delimiter: str) -> "Reader":
    return csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)


def read_csv(source: TextFile, header: Header) -> Iterator[ManifestLine]:
    """Read the rows of a table that follow its header and are not blank.

    Raises:
        ManifestError: The file cannot be read.
    """
    with source.open() as lines:
        text = _LineRecorder(_after(lines, header.skipped))
        reader = _reader(text, header.delimiter)
        next(reader, None)
        while True:
            number = header.skipped + text.read + 1
            text.lines.clear()
            try:
                cells = next(reader, None)
            except csv.Error as error:
                reason = _unreadable(number, text, error)
                yield ManifestLine(number, raw=str(text).rstrip(), error=reason)
                continue
            except LongLineError as error:
                reason = f"the row cannot be read: {error}"
                yield ManifestLine(number, raw=str(text).rstrip(), error=reason)
                continue
            if cells is None:
                return
            if any(map(str.strip, cells)):
                yield _line(number, cells, header, text, source)


class _LineRecorder:
    """Iterator over a file for the CSV reader, which counts the lines and keeps those of a row."""

    def __init__(self, file: TextLines) -> None:
        self._file = file
        self.lines: list[str] = []
        self.read = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.read += 1
        line = next(self._file)
        self.lines.append(line)
        return line

    def __str__(self) -> str:
        return "".join(self.lines)


def _line(
    number: int, cells: list[str], header: Header, text: _LineRecorder, source: TextFile
) -> ManifestLine:
    width = len(header.columns)
    # Spreadsheets often pad rows with empty cells.
    while len(cells) > width and not cells[-1].strip():
        cells.pop()
    raw = tuple(cells)
    if not is_text(str(text)):
        return ManifestLine(number, raw=raw, error=source.not_text)
    if len(cells) > width:
        reason = (
            f"the row has {len(cells)} cells, the header {width}: put text that holds a "
            f"{header.delimiter!r} in double quotes"
        )
        return ManifestLine(number, raw=raw, error=reason)
    named = zip_longest(header.columns, map(strip_cell, cells), fillvalue="")
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
