"""Whether a JPEG can be decoded row by row, or only as a whole."""

import mmap
from pathlib import Path
from typing import Final

_SOS: Final = 0xDA
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL: Final = frozenset({0xC0, 0xC1})
_MARKERS_WITHOUT_LENGTH: Final = frozenset({0x00, 0x01, *range(0xD0, 0xDA)})

MAX_PIXELS_PER_BYTE: Final = 256
"""The most pixels that a byte of JPEG data can hold: a block of 64 pixels takes at least two bits,
a code for its mean and one for its end."""


def decodes_row_by_row(source: Path) -> bool:
    """Return whether a JPEG is decoded row by row, and so in little memory at any size.

    The decoder keeps the whole image in memory if a JPEG is progressive, or stores its color
    components one after another (libjpeg, ``has_multiple_scans``). The same is assumed of a file
    that cannot be parsed up to its first scan.
    """
    with (
        source.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        try:
            return _first_scan_holds_all(data)
        except IndexError:
            return False


def _first_scan_holds_all(data: mmap.mmap) -> bool:
    at, components = 2, 0
    while data[at] == 0xFF:  # noqa: PLR2004 - the first byte of every marker
        while data[at + 1] == 0xFF:  # noqa: PLR2004 - fill bytes before a marker
            at += 1
        marker = data[at + 1]
        if marker in _MARKERS_WITHOUT_LENGTH:
            # Not valid before a scan. A parser that reads a length after it would skip the real
            # frame header.
            return False
        if marker == _SOS:
            return 0 < components == data[at + 4]
        if marker in _FRAMES:
            if marker not in _SEQUENTIAL:
                return False
            components = data[at + 9]
        at += 2 + (data[at + 2] << 8 | data[at + 3])
    return False
