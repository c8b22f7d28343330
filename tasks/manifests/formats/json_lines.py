"""Lines of a JSON manifest: an array with one object a row, read in bounded memory."""

import json
from collections.abc import Iterator
from typing import Any, Final

from tasks.manifests.formats.jsonl_lines import unique_fields
from tasks.manifests.formats.text_files import TextFile, TextLines
from tasks.manifests.lines import ManifestError, ManifestLine, is_text

_PIECE: Final = 2**20
_MAX_ROW: Final = 2**24
"""The longest row, in characters."""
_SPACE: Final = " \t\r\n"
_SHAPE: Final = 'It must hold an array of objects, as in [{"image": "a.jpg"}, {"image": "b.jpg"}].'
_plain = json.JSONDecoder()
_unique = json.JSONDecoder(object_pairs_hook=unique_fields)


def read_json(source: TextFile) -> Iterator[ManifestLine]:
    """Return the rows of a JSON array.

    The whole file is read once before the first row: an incomplete array is refused as a whole.

    Raises:
        ManifestError: The file cannot be read, or is not a JSON array.
    """
    for _ in _lines(source):
        pass
    return _lines(source)


def _lines(source: TextFile) -> Iterator[ManifestLine]:
    with source.open() as lines:
        yield from _Array(source, lines).rows()


class _Array:
    """The elements of an array. One piece of its text is in memory at a time."""

    def __init__(self, source: TextFile, lines: TextLines) -> None:
        self._source = source
        self._lines = lines
        self._text = ""
        self._at = 0
        self._rows = 0

    def rows(self) -> Iterator[ManifestLine]:
        if self._next_character() != "[":
            raise ManifestError(f"{self._source.path} is not a JSON array. {_SHAPE}")
        self._at += 1
        while self._next_character() != "]":
            if self._rows:
                self._skip_comma()
            row = self._row(self._rows + 1)
            self._rows += 1
            yield row
        self._at += 1
        if self._next_character():
            raise self._error("text follows the end of the array")

    def _row(self, number: int) -> ManifestLine:
        while True:
            try:
                value, end = self._decode()
            except json.JSONDecodeError as error:
                problem = error.msg
            except RecursionError:
                problem = "it is nested too deeply"
            else:
                # A number may continue in the next piece.
                if end < len(self._text) or not self._read():
                    break
                continue
            if not self._read():
                raise self._error(f"row {number} is not JSON ({problem})")
        raw, self._at = self._text[self._at : end], end
        if not is_text(raw):
            return ManifestLine(number, raw=raw, error=self._source.not_text)
        if isinstance(value, ValueError):
            return ManifestLine(number, raw=raw, error=f"the row is not JSON: {value}")
        if not isinstance(value, dict):
            return ManifestLine(number, raw=raw, error="the row is not a JSON object")
        return ManifestLine(number, value, value)

    def _decode(self) -> tuple[Any, int]:
        """Return the next value and its end, or an error for an object that has a field twice."""
        try:
            return _unique.raw_decode(self._text, self._at)
        except json.JSONDecodeError:
            raise
        except ValueError as error:
            return error, _plain.raw_decode(self._text, self._at)[1]

    def _next_character(self) -> str:
        """Skip spaces, and return the next character without passing it; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read():
                return ""

    def _skip_comma(self) -> None:
        if self._next_character() != ",":
            raise self._error("a ',' or the end of the array is missing")
        self._at += 1
        self._next_character()

    def _read(self) -> bool:
        """Read at least as much text as is held, so that a long row is parsed only a few times.

        Raises:
            ManifestError: The row is too long.
        """
        held = self._text[self._at :]
        if len(held) > _MAX_ROW:
            raise self._error(f"row {self._rows + 1} has over {_MAX_ROW:,} characters")
        piece = self._lines.read(max(_PIECE, len(held)))
        self._text, self._at = held + piece, 0
        return bool(piece)

    def _error(self, problem: str) -> ManifestError:
        return ManifestError(
            f"{self._source.path} is not a JSON array: after {self._rows:,} complete rows, "
            f"{problem}. {_SHAPE}"
        )
