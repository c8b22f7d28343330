"""A file object that joins parts of a file and additional bytes, for a decoder."""

import io
import os
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import BinaryIO

Part = tuple[int, int] | bytes
"""Start and end of a part of the file, or bytes that are not in it."""


class FileParts(io.RawIOBase):
    """A seekable file object of the given parts, in order. The file is not copied."""

    def __init__(self, file: BinaryIO, parts: Sequence[Part]) -> None:
        super().__init__()
        self._file = file
        self._parts = list(parts)
        lengths = (len(part) if isinstance(part, bytes) else part[1] - part[0] for part in parts)
        self._starts = [0, *accumulate(lengths)]
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Change the position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._starts[-1]}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read from the part at the position."""
        number = bisect_right(self._starts, self._at) - 1
        if number >= len(self._parts):
            return 0
        part, skipped = self._parts[number], self._at - self._starts[number]
        wanted = min(len(buffer), self._starts[number + 1] - self._at)
        if isinstance(part, bytes):
            found = part[skipped : skipped + wanted]
        else:
            self._file.seek(part[0] + skipped)
            found = self._file.read(wanted)
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)
