"""Files of rejected rows: the same columns and the reason, to be mended and submitted again."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol
from uuid import uuid4

from tasks.manifests.csv_lines import Header, ManifestError, ManifestLine, is_text

ROW: Final = "rejected_row"
REASON: Final = "rejected_reason"
TEXT: Final = "rejected_text"
_BYTES: Final = "surrogateescape"
"""What was no text comes back as the bytes that it was."""
COLUMNS: Final = frozenset({ROW, REASON, TEXT})
"""Columns of these files that are no part of a job."""


class Rejects(Protocol):
    """Takes rejected rows, one at a time, and writes them when it is closed."""

    def add(self, line: ManifestLine, reason: str, original_number: int) -> None:
        """Note one row."""

    def close(self) -> Path | None:
        """Write the file. None: there were no rows, and no file is written."""


class _RejectsFile:
    """A file that is whole or not there, under a name that destroys nobody's work.

    A file of the same content stays; one of another content, which somebody may be mending,
    stays too, and a number goes into the new one's name.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is written before the first row.

        Raises:
            ManifestError: There is something else than a file.
        """
        if path.exists() and not path.is_file():
            raise ManifestError(f"{path} is no file: name another place for rejected rows.")
        self._path = path
        self._error: OSError | None = None
        self._part = path.with_name(f".{path.name}.{uuid4().hex}.part")
        self._rows = 0

    def _write(self, text: str) -> None:
        """Add to the file; the good rows do not wait for a place where the bad ones can go."""
        if self._error is not None:
            return
        mode = "a" if self._rows else "w"
        try:
            with self._part.open(mode, encoding="utf-8", errors=_BYTES, newline="") as file:
                file.write(text)
        except OSError as error:
            self._error = error
        self._rows += 1

    def close(self) -> Path | None:
        """Write the file. None: there were no rows, and no file is written.

        Raises:
            OSError: It cannot be written.
        """
        try:
            return self._keep()
        finally:
            self._part.unlink(missing_ok=True)

    def _keep(self) -> Path | None:
        if self._error is not None:
            raise self._error
        if not self._rows:
            return None
        written = self._part.read_bytes()
        for path in _numbered_names(self._path):
            if not path.exists():
                self._part.replace(path)
                return path
            if path.is_file() and path.read_bytes() == written:
                return path
        raise AssertionError("there is always another number")


class CsvRejects(_RejectsFile):
    """Rejected rows of a CSV file or a folder."""

    def __init__(self, path: Path, header: Header) -> None:
        super().__init__(path)
        self._header = header
        self._columns = tuple(c for c in header.columns if c not in COLUMNS)

    def add(self, line: ManifestLine, reason: str, original_number: int) -> None:
        """Note one row: cells beyond the header stand after the reason, so that none is lost."""
        cells = (line.raw,) if isinstance(line.raw, str) else tuple(map(str, line.raw))
        by_column = list(zip(self._header.columns, cells, strict=False))
        kept = [cell for column, cell in by_column if column in self._columns]
        kept += [""] * (len(self._columns) - len(kept))
        if not self._rows:
            self._write(self._line([*self._columns, ROW, REASON]))
        more = cells[len(self._header.columns) :]
        self._write(self._line([*kept, str(original_number), reason, *more]))

    def _line(self, cells: list[str]) -> str:
        sink = io.StringIO()
        csv.writer(sink, delimiter=self._header.delimiter).writerow(cells)
        return sink.getvalue()


class JsonlRejects(_RejectsFile):
    """Rejected lines of a JSONL file; a line that is no object stands in one as a text."""

    def add(self, line: ManifestLine, reason: str, original_number: int) -> None:
        """Note one line."""
        given = line.raw if isinstance(line.raw, dict) else {TEXT: str(line.raw)}
        row = {**given, ROW: original_number, REASON: reason}
        text = json.dumps(row, ensure_ascii=False)
        if isinstance(line.raw, dict) and not is_text(text):
            # Half a sign, as JSON can spell it, cannot be written otherwise.
            text = json.dumps(row)
        self._write(text + "\n")


def default_rejects_path(source: Path) -> Path:
    """Where the rejected rows of a manifest go: beside it, or into the folder that it is."""
    if source.is_dir():
        return source / "rejected.csv"
    stem = source.stem.partition(".rejected")[0]
    return source.with_name(f"{stem}.rejected{source.suffix}")


def _numbered_names(path: Path) -> Iterator[Path]:
    yield path
    number = 2
    while True:
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
