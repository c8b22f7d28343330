"""Makes the C library return freed memory to the system."""

import ctypes
import sys
from typing import Final

M_MMAP_THRESHOLD: Final = -3
"""See mallopt(3)."""
LARGE_BLOCK: Final = 2**20


def return_freed_memory() -> None:
    """Return large blocks to the system when they are freed. Call it once a process.

    By default, glibc keeps freed blocks for each thread, up to twice the largest one, so that a
    process holds the memory of one image for each thread that has ever decoded one.
    """
    if sys.platform == "linux":
        # Other C libraries have no such function, or ignore the call.
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
