"""Text files in any encoding and with any line endings, read a line at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from tasks.manifests.formats.encodings import BAD_BYTES, Encoding, detect_encoding, named_encoding
from tasks.manifests.lines import BYTE_ORDER_MARK, ManifestError, is_text

MAX_LINE: Final = 2**24
"""The longest line that is read, in characters."""


class LongLineError(ValueError):
    """A line is too long. It was skipped; the lines after it can be read."""

    def __init__(self) -> None:
        super().__init__(f"it has over {MAX_LINE:,} characters")


@dataclass(frozen=True, slots=True)
class TextFile:
    """A text file and its encoding."""

    path: Path
    encoding: Encoding

    @property
    def not_text(self) -> str:
        """Why a line with bytes that cannot be decoded is rejected."""
        name = self.encoding.name.upper() if self.encoding.name == "utf-8" else self.encoding.name
        return f"the line is not {name} text: save the file again as UTF-8"

    @contextmanager
    def open(self) -> "Iterator[TextLines]":
        """Open the file. Byte order marks at its start are skipped.

        Bytes that cannot be decoded are kept, so that only their line is rejected.

        Raises:
            ManifestError: The file cannot be opened.
        """
        try:
            file = self.path.open(encoding=self.encoding.name, errors=BAD_BYTES, newline="")
        except OSError as error:
            raise ManifestError(f"{self.path} cannot be read: {error.strerror}.") from error
        with file:
            yield TextLines(file, self.path)


def text_file(path: Path, encoding: str | None) -> TextFile:
    """Return a text file with the named encoding, or with the one that is detected.

    Raises:
        ManifestError: There is no such encoding, or the file cannot be read or is not text.
    """
    detected = detect_encoding(path)
    return TextFile(path, detected if encoding is None else named_encoding(encoding))


class TextLines:
    """Iterator over the lines of a file, with their endings, which can be mixed."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._is_first = True

    def __iter__(self) -> Iterator[str]:
        """Return the lines that were not read yet."""
        return self

    def __next__(self) -> str:
        """Return the next line.

        Raises:
            LongLineError: It is too long.
            ManifestError: The file cannot be read.
        """
        line = self._read(None)
        if not line:
            raise StopIteration
        if len(line) > MAX_LINE:
            while line and not line.endswith(("\n", "\r")):
                line = self._read(None)
            raise LongLineError
        return line

    def read(self, size: int) -> str:
        """Return the next characters; empty at the end.

        Raises:
            ManifestError: The file cannot be read.
        """
        return self._read(size)

    def _read(self, size: int | None) -> str:
        """Read ``size`` characters, or else the next line up to the longest length."""
        try:
            text = self._file.readline(MAX_LINE + 1) if size is None else self._file.read(size)
        except OSError as error:
            raise ManifestError(f"{self._path} cannot be read: {error.strerror}.") from error
        except UnicodeError as error:
            raise ManifestError(f"{self._path} cannot be read: {error}.") from error
        if self._is_first:
            # Joined files have several marks.
            text, self._is_first = text.lstrip(BYTE_ORDER_MARK), False
        return text


def is_blank(line: str) -> bool:
    """Return whether a line has only spaces. Bytes that could not be decoded are not blank."""
    return not line.strip() and is_text(line)
