"""JPEG files whose last bytes are missing, and how much of the picture is missing with them."""

import mmap
from itertools import takewhile
from typing import Final

from PIL import Image

from worker.media.metadata import MalformedError, jpeg_segments

END: Final = b"\xff\xd9"
MAX_MISSING: Final = 0.01
"""The part of a picture that may be missing, at its lower right."""

_SOS: Final = 0xDA
_SOF_PROGRESSIVE: Final = 0xC2
_LAST_COEFFICIENT: Final = 63
_GRAY: Final = range(127, 130)
"""How a decoder shows a block of which it has no data."""


def ends_early(data: mmap.mmap) -> bool:
    """Return whether a JPEG ends in the data of its last scan, without the marker of its end.

    A progressive JPEG counts only if that scan brings the last bits of its details.
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


def missing_part(image: Image.Image) -> float:
    """Return the part of a picture that its file did not hold, from 0 to 1, of an opened JPEG.

    The decoder makes the blocks that are missing gray. They are the last ones, row by row.
    """
    if image.mode not in {"L", "RGB"}:
        return 1.0
    # At an eighth of the size, a block is a pixel.
    image.draft(image.mode, (1, 1))
    pixels = image.convert("RGB").tobytes()
    gray = sum(1 for _ in takewhile(_GRAY.__contains__, reversed(pixels)))
    return gray / len(pixels)
