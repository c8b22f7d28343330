"""Detects JPEG files whose last bytes are missing, and the part of the picture that is missing."""

import io
import mmap
import operator
from contextlib import suppress
from pathlib import Path
from typing import Final

from PIL import Image

from worker.media.formats.file_parts import FileParts
from worker.media.metadata import MalformedError, jpeg_segments

END: Final = b"\xff\xd9"
MAX_MISSING: Final = 0.01
"""The part of a picture, at its lower right, that may be missing."""

_SOS: Final = 0xDA
_SOF_PROGRESSIVE: Final = 0xC2
_LAST_COEFFICIENT: Final = 63
_MORE_DATA: Final = bytes((0x55, 0xAA, 0x33, 0x6C)) * 1024
"""Bytes that are decoded as further blocks, because they hold no marker."""


def ends_early(data: mmap.mmap) -> bool:
    """Return whether a JPEG ends in the data of its last scan, without an end marker.

    Of a progressive JPEG, this must be the scan with the last bits of the details.
    """
    if data[-len(END) :] == END:
        return False
    progressive = False
    last = (0, 0, 0)
    try:
        for marker, start, end in jpeg_segments(data):
            progressive = progressive or marker == _SOF_PROGRESSIVE
            last = marker, start, end
    except (IndexError, MalformedError):
        return False
    marker, start, end = last
    return marker == _SOS and end == len(data) and not (progressive and not _refines(data, start))


def _refines(data: mmap.mmap, scan: int) -> bool:
    """Return whether a scan of a progressive JPEG adds the last bits up to the last coefficient."""
    header = scan + 4 + 1 + 2 * data[scan + 4]
    approximation = data[header + 2]
    return data[header + 1] == _LAST_COEFFICIENT and approximation >> 4 > 0 == approximation & 0xF


def missing_part(source: Path) -> float:
    """Return the part of a JPEG's picture that its file does not hold, from 0 to 1; blocks.

    A decoder fills in blocks that it has no data for, without an error. So the JPEG is decoded a
    second time with more data at its end: only those blocks differ.
    """
    with (
        source.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        end = _end_of_scans(data)
        if end is None:
            return 0.0
        picture = _decode(FileParts(file, [(0, end), END]))
        extended = _decode(FileParts(file, [(0, end), _MORE_DATA, END]))
    if picture == extended:
        return 0.0
    different: int = sum(map(operator.ne, picture, extended))
    return different / len(picture)


def _end_of_scans(data: mmap.mmap) -> int | None:
    end = None
    with suppress(IndexError, MalformedError):
        for marker, _, segment_end in jpeg_segments(data):
            if marker == _SOS:
                end = segment_end
    return end


def _decode(file: FileParts) -> bytes:
    """Decode a JPEG at an eighth of its size, where a block is a pixel."""
    with Image.open(io.BufferedReader(file), formats=("JPEG",)) as image:
        image.draft(image.mode, (1, 1))
        return image.tobytes()
