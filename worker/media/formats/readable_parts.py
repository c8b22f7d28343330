"""Selects the parts of an image file that its decoder can read."""

import io
import mmap
from dataclasses import dataclass
from typing import BinaryIO

from worker.media.file_types import JPEG, PNG, FileType, leading_bytes
from worker.media.formats.file_parts import FileParts, Part
from worker.media.formats.jpeg_ends import END, ends_early
from worker.media.formats.png_chunks import SIGNATURE, read_chunks


@dataclass(frozen=True, slots=True)
class ReadableParts:
    """The parts of a file that a decoder reads.

    Attributes:
        parts: The parts; empty for the whole file.
        dropped: Descriptions, for people, of parts of the image that were left out.
        has_text: Whether the file has texts or other metadata.
        is_cut_off: Whether it is a JPEG whose last bytes are missing.
    """

    parts: tuple[Part, ...] = ()
    dropped: tuple[str, ...] = ()
    has_text: bool = False
    is_cut_off: bool = False

    def open(self, file: BinaryIO) -> BinaryIO:
        """Return the parts of an opened file as a file."""
        return io.BufferedReader(FileParts(file, self.parts)) if self.parts else file


def readable_parts(file: BinaryIO, kind: FileType) -> ReadableParts:
    """Find what a decoder can read of an opened image."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = leading_bytes(data[:64])
        if start:
            # The checks below need a file without these bytes, as `prepare_image` makes it.
            return ReadableParts(parts=((start, len(data)),))
        if kind is JPEG and ends_early(data):
            return ReadableParts(parts=((0, len(data)), END), is_cut_off=True)
        if kind is PNG:
            return _of_png(data)
        return ReadableParts()


def _of_png(data: mmap.mmap) -> ReadableParts:
    found = read_chunks(data)
    parts = [(0, SIGNATURE)]
    for start, end in sorted((*found.kept, *found.orientation)):
        if start == parts[-1][1]:
            parts[-1] = (parts[-1][0], end)
        else:
            parts.append((start, end))
    is_whole = parts == [(0, found.end or len(data))]
    return ReadableParts(
        parts=() if is_whole else tuple(parts),
        dropped=found.dropped,
        has_text=bool(found.orientation) or found.has_other,
    )
