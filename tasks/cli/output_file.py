"""Files that commands write: complete or not at all, and whatever the path leads to."""

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
_FOLDER_IS_CLOSED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""No file can be made in the folder; one that is there may still be writable."""
_NOT_REPLACEABLE: Final = frozenset({errno.EBUSY, errno.EXDEV, *_FOLDER_IS_CLOSED})
"""The file itself is mounted into a container, for example."""


def is_regular(path: Path) -> bool:
    """Return whether a path leads to a file, or to a place where there is none yet."""
    return _descriptor(path) is None and (path.is_file() or not path.exists())


@contextmanager
def open_output_file(path: Path) -> Iterator[TextIO]:
    """Open a file for a whole text.

    A regular file is replaced when the text is complete, and keeps its permissions. Links are
    followed. A device, a pipe or a descriptor, such as ``/dev/fd/1``, is written as it comes.

    Raises:
        OSError: It cannot be written. A regular file is unchanged then.
    """
    descriptor = _descriptor(path)
    if descriptor is not None:
        # Opening it again would cut off a file that the shell has opened for appending.
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
    """Write beside a file, which is replaced at the end."""
    part = path.with_name(f".{path.name[:100]}.{uuid4().hex}.part")
    flags = os.O_WRONLY | os.O_CREAT
    try:
        opened = os.open(part, flags | os.O_EXCL, 0o666)
    except OSError as error:
        if error.errno not in _FOLDER_IS_CLOSED or not path.exists():
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
