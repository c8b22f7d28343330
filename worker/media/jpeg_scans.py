"""How a JPEG is laid out: row by row, or in scans that must be held until the last has come."""

import mmap
from pathlib import Path
from typing import Final

_SOS: Final = 0xDA
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL: Final = frozenset({0xC0, 0xC1})
_WITHOUT_LENGTH: Final = frozenset({0x00, 0x01, *range(0xD0, 0xDA)})

MAX_PIXELS_PER_BYTE: Final = 256
"""A block of 64 pixels takes a code for its mean and one for its end, of a bit each at least."""


def decodes_row_by_row(source: Path) -> bool:
    """Whether a JPEG is decoded row by row, and so at any size in little memory.

    A progressive one, and one whose colours come one after another, is held whole before its
    first row is known: so the decoder does it (libjpeg, ``has_multiple_scans``). What cannot be
    followed to its first scan counts as one of those.
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
    at, colours = 2, 0
    while data[at] == 0xFF:  # noqa: PLR2004 - every marker starts so
        while data[at + 1] == 0xFF:  # noqa: PLR2004 - as above: fill bytes before a marker
            at += 1
        marker = data[at + 1]
        if marker in _WITHOUT_LENGTH:
            # None belongs here. Whoever reads a length behind it is led past the real frame.
            return False
        if marker == _SOS:
            return 0 < colours == data[at + 4]
        if marker in _FRAMES:
            if marker not in _SEQUENTIAL:
                return False
            colours = data[at + 9]
        at += 2 + (data[at + 2] << 8 | data[at + 3])
    return False
