"""Shortages of disk space, open files, memory or threads on this machine, which are temporary."""

import errno
from enum import StrEnum
from typing import Final


class Shortage(StrEnum):
    """What is short on the machine of a worker."""

    SCRATCH_DISK = "scratch_disk"
    OPEN_FILES = "open_files"
    MEMORY = "memory"
    THREADS = "threads"


_BY_ERROR_NUMBER: Final = {
    errno.ENOSPC: Shortage.SCRATCH_DISK,
    errno.EDQUOT: Shortage.SCRATCH_DISK,
    errno.EMFILE: Shortage.OPEN_FILES,
    errno.ENFILE: Shortage.OPEN_FILES,
    errno.ENOMEM: Shortage.MEMORY,
}
_NO_THREAD: Final = "can't start new thread"
"""The text of Python's `RuntimeError`, which has no class of its own."""
MESSAGES: Final = {
    Shortage.SCRATCH_DISK: "The disk for temporary files of a worker is full.",
    Shortage.OPEN_FILES: "A worker has too many open files.",
    Shortage.MEMORY: "A worker has no free memory.",
    Shortage.THREADS: "A worker can start no more threads.",
}
REMEDIES: Final = {
    Shortage.SCRATCH_DISK: "Free space in the workers' temporary folder, or set TMPDIR to another.",
    Shortage.OPEN_FILES: "Raise the workers' limit of open files (ulimit -n, LimitNOFILE).",
    Shortage.MEMORY: "Give the workers more memory, or lower REELQUEUE_CONCURRENCY.",
    Shortage.THREADS: "Raise the limit of processes and threads (ulimit -u, TasksMax, pids.max).",
}


def shortage_of(error: BaseException) -> Shortage | None:
    """Return the shortage that caused an exception, or one of the exceptions that led to it."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, MemoryError):
            return Shortage.MEMORY
        if isinstance(cause, RuntimeError) and str(cause) == _NO_THREAD:
            return Shortage.THREADS
        if isinstance(cause, OSError) and cause.errno in _BY_ERROR_NUMBER:
            return _BY_ERROR_NUMBER[cause.errno]
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return None
