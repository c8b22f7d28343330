"""Output files: a regular file is written completely or not at all, others are written directly."""

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO
from uuid import uuid4

_DESCRIPTOR: Final = re.compile(r"/dev/fd/(\d{1,9})|/proc/self/fd/(\d{1,9})")
_STREAMS: Final = {"/dev/stdout": 1, "/dev/stderr": 2}
_NOT_CREATABLE: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""No file can be created in the folder; an existing one may still be writable."""
_NOT_REPLACEABLE: Final = frozenset({errno.EBUSY, errno.EXDEV, *_NOT_CREATABLE})
"""A file cannot be renamed to this path, for example because the path is a mount point."""


def is_regular(path: Path) -> bool:
    """Return whether a path is that of a regular file, or of nothing yet."""
    return _descriptor(path) is None and (path.is_file() or not path.exists())


@contextmanager
def open_output_file(path: Path) -> Iterator[TextIO]:
    """Open a file to write a whole text.

    A regular file is replaced when the text is complete, and keeps its permissions. Links are
    followed. A device, a pipe or a descriptor, such as ``/dev/fd/1``, is written directly.

    Raises:
        OSError: The file cannot be written. A regular file is then unchanged.
    """
    descriptor = _descriptor(path)
    if descriptor is not None:
        # Opening the path again would truncate a file that the shell has opened for appending.
        with _text(os.dup(descriptor)) as sink:
            yield sink
    elif is_regular(path):
        with _replaced(path.resolve()) as sink:
            yield sink
    else:
        with _text(os.open(path, os.O_WRONLY)) as sink:
            yield sink


def _descriptor(path: Path) -> int | None:
    """Return the open descriptor that a path names."""
    found = _DESCRIPTOR.fullmatch(str(path))
    return int(found[1] or found[2]) if found else _STREAMS.get(str(path))


@contextmanager
def _replaced(path: Path) -> Iterator[TextIO]:
    """Write to a temporary file in the same folder, and replace the file at the end."""
    part = path.with_name(f".{path.name[:100]}.{uuid4().hex}.part")
    flags = os.O_WRONLY | os.O_CREAT
    try:
        opened = os.open(part, flags | os.O_EXCL, 0o666)
    except OSError as error:
        if error.errno not in _NOT_CREATABLE or not path.exists():
            raise
        with _text(os.open(path, flags | os.O_TRUNC)) as sink:
            yield sink
        return
    try:
        with _text(opened) as sink:
            if path.exists():
                os.fchmod(opened, stat.S_IMODE(path.stat().st_mode))
            yield sink
        try:
            part.replace(path)
        except OSError as error:
            if error.errno not in _NOT_REPLACEABLE or not path.exists():
                raise
            shutil.copyfile(part, path)
    finally:
        part.unlink(missing_ok=True)


def _text(descriptor: int) -> TextIO:
    return open(descriptor, "w", encoding="utf-8", errors="backslashreplace", newline="")
