"""Files of rejected rows, which people correct and submit again.

They have the manifest's format and columns, and further columns with the reasons.
"""

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from typing import Final
from uuid import uuid4

from tasks.manifests.formats.csv_lines import DELIMITERS, Header
from tasks.manifests.lines import (
    REASON_COLUMN,
    REJECTS_COLUMNS,
    ROW_COLUMN,
    TEXT_COLUMN,
    ManifestError,
    ManifestLine,
    is_text,
)
from worker.storage.local_folder import rename_if_free

_SUFFIXES: Final = {".json": ".jsonl", ".xlsx": ".csv", ".xlsm": ".csv", ".ods": ".csv"}
"""Suffixes of the files of rejected rows, where they differ from that of the manifest."""


class Rejects(ABC):
    """A file of rejected rows. It appears when it is complete, and overwrites no other file.

    If another file has this name, which somebody may be correcting, the new one gets a number.
    """

    def __init__(self, path: Path) -> None:
        """Check the path. Nothing is written before the first row.

        Raises:
            ManifestError: The path exists and is not a file.
        """
        if path.exists() and not path.is_file():
            raise ManifestError(f"{path} is not a file. Give another path for the rejected rows.")
        # Of a link to a missing file, the target is created, and the link stays.
        self._path = path = path.resolve() if path.is_symlink() else path
        self._error: OSError | None = None
        self._part = path.with_name(f".{path.name}.{uuid4().hex}.part")
        self._rows = 0

    @abstractmethod
    def add(self, line: ManifestLine, reason: str) -> None:
        """Add one line."""

    def _write(self, text: str) -> None:
        """Add a text. A failure is raised by `close`: it must not stop the good rows."""
        if self._error is not None:
            return
        mode = "a" if self._rows else "w"
        try:
            # Bytes of the manifest that could not be decoded are written unchanged.
            with self._part.open(mode, encoding="utf-8", errors="surrogateescape", newline="") as f:
                f.write(text)
        except OSError as error:
            self._error = error
        self._rows += 1

    def close(self) -> Path | None:
        """Complete the file and return its path, or None if there were no rows.

        Raises:
            OSError: The file could not be written.
        """
        try:
            return self._complete()
        finally:
            self._part.unlink(missing_ok=True)

    def _complete(self) -> Path | None:
        if self._error is not None:
            raise self._error
        if not self._rows:
            return None
        written = self._part.read_bytes()
        for path in _numbered(self._path):
            # The rename is exclusive: another submission may be writing at the same time.
            if not path.exists() and rename_if_free(self._part, path):
                return path
            if path.is_file() and path.read_bytes() == written:
                return path
        raise AssertionError("there is always another number")


class CsvRejects(Rejects):
    """Rejected rows of a table or a folder, in UTF-8, with or without a byte order mark."""

    def __init__(self, path: Path, header: Header, mark: str = "") -> None:
        super().__init__(path)
        self._mark = mark
        self._header = header
        self._columns = [column for column in header.columns if column not in REJECTS_COLUMNS]

    def add(self, line: ManifestLine, reason: str) -> None:
        """Add one line. Its cells beyond the header follow the reason."""
        cells = (line.raw,) if isinstance(line.raw, str) else tuple(map(str, line.raw))
        named = zip(self._header.columns, cells, strict=False)
        kept = [cell for column, cell in named if column not in REJECTS_COLUMNS]
        kept += [""] * (len(self._columns) - len(kept))
        if not self._rows:
            self._write(self._mark)
            if self._header.delimiter not in DELIMITERS:
                self._write(f"sep={self._header.delimiter}\r\n")
            self._write_row([*self._columns, ROW_COLUMN, REASON_COLUMN])
        extra = cells[len(self._header.columns) :]
        self._write_row([*kept, str(line.original_number), reason, *extra])

    def _write_row(self, cells: list[str]) -> None:
        sink = io.StringIO()
        csv.writer(sink, delimiter=self._header.delimiter).writerow(cells)
        self._write(sink.getvalue())


class JsonlRejects(Rejects):
    """Rejected lines of a JSON or JSONL file. A line that is not an object is put into one."""

    def add(self, line: ManifestLine, reason: str) -> None:
        """Add one line."""
        fields = line.raw if isinstance(line.raw, dict) else {TEXT_COLUMN: str(line.raw)}
        row = {**fields, ROW_COLUMN: line.original_number, REASON_COLUMN: reason}
        text = json.dumps(row, ensure_ascii=False)
        if isinstance(line.raw, dict) and not is_text(text):
            # A lone surrogate can be written in JSON only as an escape.
            text = json.dumps(row)
        self._write(text + "\n")


def default_rejects_path(source: Path) -> Path:
    """Return the default path for the rejected rows of a manifest."""
    if source.is_dir():
        return source / "rejected.csv"
    stem = source.stem.partition(".rejected")[0]
    suffix = _SUFFIXES.get(source.suffix.lower(), source.suffix)
    return source.with_name(f"{stem}.rejected{suffix}")


def _numbered(path: Path) -> Iterator[Path]:
    numbered = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
    return chain([path], numbered)
