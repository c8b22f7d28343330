"""Removes metadata from images without changing a pixel, by copying parts of the container.

Only parts on a list are copied, because any other part may reveal where a photograph was taken.
Color profiles and animations are kept. Data after the end of the image is dropped too: phones
append a second image or a video there, which has metadata as well.
"""

import mmap
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from worker.media.file_types import GIF, JPEG, PNG, WEBP, FileType
from worker.media.formats.png_chunks import SIGNATURE, read_chunks

_NEXT_JPEG_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_SOS, _EOI, _COM = 0xDA, 0xD9, 0xFE
_APP0, _APP2, _APP14, _APP15 = 0xE0, 0xE2, 0xEE, 0xEF
_KEPT_IN_JPEG: Final = {_APP0: b"JFIF\x00", _APP2: b"ICC_PROFILE\x00", _APP14: b"Adobe"}

_KEPT_IN_WEBP: Final = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"})
_WEBP_EXIF_AND_XMP: Final = 0x08 | 0x04

_GIF_HEADER: Final = 13
_GIF_IMAGE, _GIF_EXTENSION, _GIF_END = 0x2C, 0x21, 0x3B
_GIF_CONTROL, _GIF_TEXT, _GIF_APPLICATION = 0xF9, 0x01, 0xFF
_KEPT_IN_GIF: Final = frozenset({b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012"})


class MalformedError(Exception):
    """The container cannot be parsed. Its pixels may still be readable."""


@dataclass(frozen=True, slots=True)
class Stripped:
    """By how many bytes the copy is shorter, and descriptions of removed damage."""

    bytes: int
    damage: tuple[str, ...]


def strip_metadata(source: Path, kind: FileType, target: Path) -> Stripped:
    """Copy an image without its metadata and without changing a pixel.

    Args:
        source: A JPEG, PNG, WEBP or GIF file.
        kind: Its type.
        target: Where the copy goes.

    Raises:
        MalformedError: The container cannot be parsed; ``target`` is then incomplete.
    """
    with (
        source.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        target.open("wb") as sink,
    ):
        try:
            damage: list[str] = []
            for part in _KEPT_PARTS[kind](data, damage):
                sink.write(part)
        except IndexError as error:
            raise MalformedError(f"the {kind.name} file ends too early") from error
        return Stripped(len(data) - sink.tell(), tuple(dict.fromkeys(damage)))


def _jpeg(data: mmap.mmap, _: list[str]) -> Iterator[bytes]:
    yield data[:2]
    for marker, start, end in jpeg_segments(data):
        if marker == _SOS or _kept_in_jpeg(marker, data[start + 4 : end]):
            yield data[start:end]
    yield bytes((0xFF, _EOI))


def jpeg_segments(data: mmap.mmap) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of each segment of a JPEG. A scan includes its data.

    Raises:
        MalformedError: A segment cannot be parsed.
        IndexError: The file ends between two segments.
    """
    at = 2
    while True:
        if data[at] != 0xFF:  # noqa: PLR2004 - the first byte of every marker
            raise MalformedError("a JPEG marker is missing")
        while data[at + 1] == 0xFF:  # noqa: PLR2004 - fill bytes before a marker
            at += 1
        marker = data[at + 1]
        if marker == _EOI:
            break
        end = at + 2 + _number(data, at + 2, 2, "big")
        if not at + 4 <= end <= len(data):
            raise MalformedError("a JPEG segment ends beyond the file")
        if marker == _SOS:
            found = _NEXT_JPEG_MARKER.search(data, end)
            end = found.start() if found else len(data)
        yield marker, at, end
        if end == len(data) and marker == _SOS:
            break
        at = end


def _kept_in_jpeg(marker: int, body: bytes) -> bool:
    if _APP0 <= marker <= _APP15:
        start = _KEPT_IN_JPEG.get(marker)
        return start is not None and body.startswith(start)
    return marker != _COM


def _png(data: mmap.mmap, _: list[str]) -> Iterator[bytes]:
    found = read_chunks(data)
    if found.end is None:
        raise MalformedError("a PNG chunk ends beyond the file")
    yield data[:SIGNATURE]
    for start, end in found.kept:
        yield data[start:end]


def _webp(data: mmap.mmap, _: list[str]) -> Iterator[bytes]:
    kept: list[tuple[int, int]] = []
    at, last = 12, min(len(data), 8 + _number(data, 4, 4, "little"))
    while at + 8 <= last:
        size = _number(data, at + 4, 4, "little")
        end = at + 8 + size + size % 2
        if at + 8 + size > last:
            raise MalformedError("a WEBP chunk ends beyond the file")
        if data[at : at + 4] in _KEPT_IN_WEBP:
            kept.append((at, end))
        at = end
    yield b"RIFF" + (4 + sum(end - start for start, end in kept)).to_bytes(4, "little") + b"WEBP"
    for start, end in kept:
        chunk = data[start:end]
        if chunk[:4] == b"VP8X":
            chunk = chunk[:8] + bytes((chunk[8] & ~_WEBP_EXIF_AND_XMP,)) + chunk[9:]
        # The padding byte of the last chunk is sometimes missing.
        yield chunk.ljust(end - start, b"\x00")


def _gif(data: mmap.mmap, damage: list[str]) -> Iterator[bytes]:
    at = _GIF_HEADER + _color_table_size(data[10])
    yield data[:at]
    frames = 0
    while at < len(data) and data[at] != _GIF_END:
        if data[at] == 0:
            # Some encoders end a block twice.
            damage.append("stray bytes between the frames removed")
            at += 1
            continue
        try:
            kept, end = _gif_block(data, at)
        except IndexError:
            if not frames:
                raise
            damage.append("incomplete last frame removed")
            break
        frames += data[at] == _GIF_IMAGE
        if kept:
            yield data[at:end]
        at = end
    yield bytes((_GIF_END,))


def _gif_block(data: mmap.mmap, at: int) -> tuple[bool, int]:
    """Return whether a block is kept, and where it ends.

    Raises:
        IndexError: The file ends inside the block.
    """
    if data[at] == _GIF_IMAGE:
        return True, _after_blocks(data, at + 10 + _color_table_size(data[at + 9]) + 1)
    if data[at] == _GIF_EXTENSION:
        kept = _kept_in_gif(data[at + 1], data[at + 3 : at + 14])
        return kept, _after_blocks(data, at + 2)
    raise MalformedError("a GIF block is of an unknown type")


def _kept_in_gif(label: int, application: bytes) -> bool:
    if label == _GIF_APPLICATION:
        return application in _KEPT_IN_GIF
    return label in {_GIF_CONTROL, _GIF_TEXT}


def _color_table_size(flags: int) -> int:
    """Return the size in bytes of the color table that these flags announce."""
    return 3 * 2 ** ((flags & 0b111) + 1) if flags & 0x80 else 0


def _after_blocks(data: mmap.mmap, at: int) -> int:
    """Return where a chain of length-prefixed blocks ends."""
    while data[at]:
        at += 1 + data[at]
    return at + 1


def _number(data: mmap.mmap, at: int, width: int, order: str) -> int:
    raw = data[at : at + width]
    if len(raw) < width:
        raise MalformedError("the file ends inside a number")
    return int.from_bytes(raw, "big" if order == "big" else "little")


_KEPT_PARTS: Final[dict[FileType, Callable[[mmap.mmap, list[str]], Iterator[bytes]]]] = {
    JPEG: _jpeg,
    PNG: _png,
    WEBP: _webp,
    GIF: _gif,
}
