"""Finds the chunks of a PNG that are needed to decode it.

Decoders refuse a whole image for an optional chunk with a wrong checksum, or for a text or a color
profile that is larger than they expect. Such chunks are left out: they hold no pixels.
"""

import mmap
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from worker.file_refusal import FileRefusedError
from worker.media.refusals import megabytes

SIGNATURE: Final = 8
MAX_PROFILE: Final = 2**20
"""The largest color profile that Pillow reads, in bytes."""

KEPT: Final = frozenset(
    b"IHDR PLTE IDAT IEND tRNS cHRM gAMA iCCP sBIT sRGB cICP mDCV cLLI bKGD hIST pHYs sPLT "
    b"acTL fcTL fdAT".split()
)
_ANIMATION: Final = frozenset({b"acTL", b"fcTL", b"fdAT"})
_RAW_PROFILE: Final = b"Raw profile type exif\0"
_XMP: Final = b"XML:com.adobe.xmp\0\0"
"""The start of an XMP text, which must be uncompressed."""
_MAX_CHECKED: Final = 16 * 2**20
"""The largest chunk whose checksum is checked, in bytes."""
_OPTIONAL: Final = 0x20
"""The bit that is set in the first letter of the names of chunks that a decoder may ignore."""


@dataclass(frozen=True, slots=True)
class PngChunks:
    """The chunks of a PNG.

    Attributes:
        kept: Start and end of the chunks of the pixels, the color space and the animation.
        orientation: Start and end of the chunks that may hold the orientation.
        end: Where the last chunk ends; None if the file ends inside a chunk.
        dropped: Descriptions, for people, of damaged chunks that would have been kept.
        has_other: Whether there are other chunks, such as texts.
    """

    kept: tuple[tuple[int, int], ...]
    orientation: tuple[tuple[int, int], ...]
    end: int | None
    dropped: tuple[str, ...]
    has_other: bool


def refuse_app_png(source: Path, name: str) -> None:
    """Refuse a PNG from an iOS app, whose pixels Xcode has stored in a format of Apple's.

    Raises:
        FileRefusedError: It is such a PNG.
    """
    with source.open("rb") as file:
        head = file.read(SIGNATURE + 8)
    if head.endswith(b"CgBI"):
        raise FileRefusedError(
            "unsupported_file",
            f"{name} is a PNG from an iOS app, in a format that only Apple's programs can read.",
            "Submit the original image, or open this one in Preview and export it as PNG.",
        )


def read_chunks(data: mmap.mmap) -> PngChunks:
    """Find the chunks. An incomplete last chunk is kept: the decoder uses or refuses it."""
    kept: list[tuple[bytes, int, int]] = []
    orientation: list[tuple[int, int]] = []
    damaged: dict[bytes, str] = {}
    has_other = False
    at, name = SIGNATURE, b""
    while name != b"IEND":
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 12 + size
        if end > len(data):
            kept.append((b"", at, len(data)))
            break
        if name in KEPT:
            problem = _problem(name, data, at, end)
            if problem:
                damaged[name] = problem
            else:
                kept.append((name, at, end))
        elif _may_hold_orientation(name, data, at, end):
            orientation.append((at, end))
        else:
            has_other = True
        at = end
    # An animation can be used only with all of its parts.
    left_out = _ANIMATION if _ANIMATION & damaged.keys() else frozenset()
    return PngChunks(
        kept=tuple((start, end) for name, start, end in kept if name not in left_out),
        orientation=tuple(orientation),
        end=at if name == b"IEND" and end <= len(data) else None,
        dropped=tuple(dict.fromkeys(damaged.values())),
        has_other=has_other,
    )


def _problem(name: bytes, data: mmap.mmap, start: int, end: int) -> str:
    """Return why an optional chunk is left out; empty if it is not."""
    if not name[0] & _OPTIONAL or end - start > _MAX_CHECKED:
        return ""
    if not _checksum_is_right(data, start, end):
        what = "animation" if name in _ANIMATION else f"{name.decode('ascii')} chunk"
        return f"damaged {what} removed"
    if name == b"iCCP":
        profile = data[start + 8 : end - 4].partition(b"\0")[2][1:]
        unpacked = _unpacked_size(profile)
        if unpacked is None:
            return "damaged color profile removed"
        if unpacked > MAX_PROFILE:
            return f"color profile of over {megabytes(MAX_PROFILE)} MB removed"
    return ""


def _may_hold_orientation(name: bytes, data: mmap.mmap, start: int, end: int) -> bool:
    """Return whether an undamaged chunk may hold the orientation: in EXIF data, or in a text."""
    if end - start > MAX_PROFILE or not _checksum_is_right(data, start, end):
        return False
    body = data[start + 8 : end]
    match name:
        case b"eXIf":
            return True
        case b"iTXt":
            return body.startswith(_XMP)
        case b"tEXt":
            return body.startswith(_RAW_PROFILE)
        case b"zTXt":
            packed = body[len(_RAW_PROFILE) + 1 :]
            size = _unpacked_size(packed)
            return body.startswith(_RAW_PROFILE) and size is not None and size <= MAX_PROFILE
        case _:
            return False


def _checksum_is_right(data: mmap.mmap, start: int, end: int) -> bool:
    return zlib.crc32(data[start + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big")


def _unpacked_size(packed: bytes) -> int | None:
    """Return the size of decompressed bytes, at most one over the limit; None if damaged."""
    try:
        return len(zlib.decompressobj().decompress(packed, MAX_PROFILE + 1))
    except zlib.error:
        return None
