"""The encodings in which people and their programs save text files."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tasks.manifests.formats.code_pages import guess_code_page
from tasks.manifests.lines import BYTE_ORDER_MARK, ManifestError

BAD_BYTES: Final = "reelqueue.bad_bytes"
"""The name of an error handler that decodes invalid bytes to lone surrogates.

A line with a lone surrogate is rejected. Unlike `surrogateescape`, this handler also supports
encodings in which invalid bytes can be ASCII.
"""
_HEAD: Final = 4096
_CHUNK: Final = 2**20
_SAMPLE: Final = 2**15
"""Bytes of lines that the detector reads."""
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MAGIC: Final = (
    (b"PK\x03\x04", "a spreadsheet or an archive (.xlsx, .ods, .zip)"),
    (b"\xd0\xcf\x11\xe0", "an old or encrypted Office file"),
    (b"\xff\xd8\xff", "an image"),
    (b"\x89PNG", "an image"),
    (b"%PDF", "a PDF file"),
)


@dataclass(frozen=True, slots=True)
class Encoding:
    """The encoding of a file.

    Attributes:
        name: Its name.
        is_guess: Whether nothing in the file names or proves it.
        mark: What a UTF-8 file starts with, so that the program that made this file reads it
            correctly: a byte order mark, or nothing if this file is UTF-8 without one.
    """

    name: str
    is_guess: bool = False
    mark: str = BYTE_ORDER_MARK


def named_encoding(name: str) -> Encoding:
    """Return the encoding of a name that a person has given.

    Raises:
        ManifestError: There is none of this name.
    """
    try:
        if codecs.decode("image".encode(name), name) == "image":
            is_utf8 = codecs.lookup(name).name == "utf-8"
            return Encoding(name.lower(), mark="" if is_utf8 else BYTE_ORDER_MARK)
    except (LookupError, ValueError, TypeError, AttributeError):
        pass
    raise ManifestError(
        f'There is no encoding "{name}". Common ones are utf-8, utf-16, windows-1250, '
        f"windows-1251, windows-1252, cp932, gb18030, cp949 and big5."
    )


def detect_encoding(path: Path) -> Encoding:
    """Return the encoding of a text file, which is read once in bounded memory.

    Raises:
        ManifestError: The file cannot be read, or is not text.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}.") from error
    kind = next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)
    if kind is not None:
        raise ManifestError(
            f"{path} is {kind}, not a text file. Give it the right suffix, or save it as text."
        )
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    name = marked or _utf16_without_mark(head)
    if name is not None:
        return Encoding(name)
    if _is_utf8(path):
        return Encoding("utf-8", mark="")
    return _guess(path)


def _utf16_without_mark(head: bytes) -> str | None:
    """Return the variant of UTF-16 that explains the NULs in the first line; None if none does."""
    line = head.partition(b"\n")[0]
    even, odd = line[::2].count(0), line[1::2].count(0)
    if max(even, odd) < len("image") or min(even, odd):
        return None
    return "utf-16-be" if even else "utf-16-le"


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for chunk in _chunks(path):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _guess(path: Path) -> Encoding:
    """Return the encoding of a file that is not UTF-8 throughout."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    invalid_bytes = valid_characters = 0
    for chunk in _chunks(path):
        text = decoder.decode(chunk)
        if not text.isascii():
            invalid = sum(1 for character in text if "\udc80" <= character <= "\udcff")
            invalid_bytes += invalid
            valid_characters += sum(1 for character in text if character > "\x7f") - invalid
    if valid_characters > invalid_bytes:
        # This is damaged UTF-8. As a code page, its valid characters would be wrong.
        return Encoding("utf-8", is_guess=True, mark="")
    return Encoding(guess_code_page(_sample(path)), is_guess=True)


def _sample(path: Path) -> bytes:
    """Return the first lines that are not ASCII, after the header."""
    lines: list[bytes] = []
    with path.open("rb") as file:
        while sum(map(len, lines)) < _SAMPLE:
            line = file.readline(_SAMPLE)
            if not line:
                break
            if not lines or not line.isascii():
                lines.append(line)
    return b"".join(lines)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _keep_bad_bytes(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    bad = error.object[error.start : error.end]
    kept = "".join(chr(byte if byte < 0x80 else 0xDC00 + byte) for byte in bad)  # noqa: PLR2004
    return kept if not kept.isascii() else "\udcff", error.end


codecs.register_error(BAD_BYTES, _keep_bad_bytes)
