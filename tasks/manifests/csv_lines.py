"""What stands in a manifest: its lines, read one at a time, each with its number and its text.

Nothing here knows what a job is. A line that cannot be read does no harm to the next one.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO

_DELIMITERS: Final = ",;\t"
_NOT_UTF8: Final = "the line is not UTF-8 text: save the file again as UTF-8"
_LONGEST_CELL: Final = csv.field_size_limit()


class ManifestError(ValueError):
    """A manifest that cannot be read at all. The text says what to do."""


@dataclass(frozen=True, slots=True)
class ManifestLine:
    """One row as it stands in a manifest.

    Attributes:
        number: Its line in the file, from 1; in a folder, its place in the order of names.
        fields: What it says, by column.
        raw: What stands there, so that it can be handed back to be mended: the cells of a CSV
            row, the object of a JSONL line, or a text that is neither.
        reason: Why it cannot be read.
    """

    number: int
    fields: Mapping[str, object] = field(default_factory=dict)
    raw: tuple[str, ...] | Mapping[str, object] | str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of a CSV manifest: its columns as they stand there, and what parts them."""

    columns: tuple[str, ...]
    delimiter: str


def read_header(source: Path) -> Header:
    """The columns of a CSV file.

    Raises:
        ManifestError: The first line names no columns, or one twice.
    """
    with _open_text(source) as file:
        head = file.readline()
        if "\0" in head or not is_text(head):
            raise ManifestError(f"{source} is not UTF-8 text: save it again as «CSV UTF-8».")
        file.seek(0)
        delimiter = max(_DELIMITERS, key=head.count)
        try:
            cells = next(csv.reader(file, delimiter=delimiter, strict=True), [])
        except csv.Error as error:
            raise ManifestError(f"{source}, line 1: {_csv_error_text(head, error)}.") from error
    columns = tuple(cell.strip() for cell in cells)
    named = [column.lower() for column in columns if column]
    if "image" not in named:
        raise ManifestError(
            f"The first line of a CSV manifest must name a column «image»; {source} has "
            f"{', '.join(map(repr, filter(None, columns))) or 'none'}."
        )
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise ManifestError(f"{source} names a column twice: {', '.join(map(repr, twice))}.")
    return Header(columns, delimiter)


def read_csv(source: Path, header: Header) -> Iterator[ManifestLine]:
    """The rows of a CSV file, after its header."""
    with _open_text(source) as file:
        text = _LineRecorder(file)
        reader = csv.reader(text, delimiter=header.delimiter, strict=True)
        next(reader, None)
        while True:
            number = reader.line_num + 1
            text.lines.clear()
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield ManifestLine(
                    number, raw=str(text).rstrip(), reason=_unreadable_reason(number, text, error)
                )
                continue
            if cells is None:
                return
            if any(cell.strip() for cell in cells):
                yield _csv_line(number, cells, header, text)


def read_jsonl(source: Path) -> Iterator[ManifestLine]:
    """The lines of a JSONL file; blank ones are none."""
    with _open_text(source) as file:
        for number, text in enumerate(file, start=1):
            if text.strip():
                yield _jsonl_line(number, text)


def list_folder(folder: Path, suffixes: frozenset[str]) -> Iterator[ManifestLine]:
    """What a folder holds by name; what is hidden or ends otherwise, and folders, are left out.

    A link that leads nowhere, or a pipe, is there: it is refused with its name, not passed over.

    Raises:
        ManifestError: There are none, or the folder cannot be read.
    """
    try:
        names = sorted(
            path.name
            for path in folder.iterdir()
            if path.suffix.lower() in suffixes
            and not path.is_dir()
            and not path.name.startswith(".")
        )
    except OSError as error:
        raise ManifestError(f"{folder} cannot be read: {error.strerror}.") from error
    if not names:
        raise ManifestError(f"{folder} holds no images ({', '.join(sorted(suffixes))}).")
    return (
        ManifestLine(number, {"image": name}, raw=(name,))
        for number, name in enumerate(names, start=1)
    )


class _LineRecorder:
    """A file's lines on their way into the CSV reader, kept for as long as a row is read."""

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


def _open_text(source: Path) -> TextIO:
    """A file as text; bytes that are not UTF-8 are kept, so that their line alone is refused."""
    try:
        return source.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
    except OSError as error:
        raise ManifestError(f"{source} cannot be read: {error.strerror}.") from error


def _csv_line(number: int, cells: list[str], header: Header, text: _LineRecorder) -> ManifestLine:
    width = len(header.columns)
    # Spreadsheets like to pad rows with empty cells.
    while len(cells) > width and not cells[-1].strip():
        cells.pop()
    raw = tuple(cells)
    if not is_text(str(text)):
        return ManifestLine(number, raw=raw, reason=_NOT_UTF8)
    if len(cells) > width:
        reason = (
            f"the row has {len(cells)} cells, the header {width}: put text that holds a "
            f"{header.delimiter!r} in double quotes"
        )
        return ManifestLine(number, raw=raw, reason=reason)
    named = zip(header.columns, map(str.strip, cells), strict=False)
    return ManifestLine(number, {name: cell for name, cell in named if name}, raw)


def _jsonl_line(number: int, text: str) -> ManifestLine:
    raw = text.strip()
    if not is_text(raw):
        return ManifestLine(number, raw=raw, reason=_NOT_UTF8)
    try:
        fields: Any = json.loads(raw, object_pairs_hook=_unique_fields)
    except (ValueError, RecursionError) as error:
        return ManifestLine(number, raw=raw, reason=f"the line is not JSON: {error}")
    if not isinstance(fields, dict):
        return ManifestLine(number, raw=raw, reason="the line is not a JSON object")
    return ManifestLine(number, fields, fields)


def is_text(text: str) -> bool:
    """Whether a text can be written as UTF-8: all that was read as such can."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unique_fields(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"it names a field twice: {', '.join(map(repr, twice))}")
    return fields


def _unreadable_reason(number: int, text: _LineRecorder, error: csv.Error) -> str:
    last = number + len(text.lines) - 1
    where = f" (lines {number} to {last} were read as one row)" if last > number else ""
    return f"the row cannot be read: {_csv_error_text(str(text), error)}{where}"


def _csv_error_text(text: str, error: csv.Error) -> str:
    if len(text) <= _LONGEST_CELL:
        return f"its double quotes do not match: {error}"
    quotes = "; is a double quote not closed?" if '"' in text else ""
    return f"it has a cell of more than {_LONGEST_CELL:,} characters{quotes}"
