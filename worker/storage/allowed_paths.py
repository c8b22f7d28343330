"""Files that somebody else names by their path: only where such files may lie, and only files.

What was checked is what is read: the way from the root to the file is walked folder by folder,
each opened within the one before and never through a link, so that nobody who may write there can
put something else in its place meanwhile. The content is copied from the file that was opened.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from worker.egress.sources import too_large
from worker.file_refusal import FileRefusedError

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
# A pipe that nobody writes to would hold up the one that opens it.
_FILE: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW
_PIECE: Final = 1 << 20
_REMEDY: Final = (
    "Name a file in a folder of REELQUEUE_MEDIA_ROOTS, or send it with the command line."
)


def copy_allowed_file(text: str, roots: Iterable[Path], to: Path, *, max_bytes: int) -> None:
    """Copy the file that another service names by its path. Blocks.

    Args:
        text: An absolute path.
        roots: The folders that files may be named from; symbolic links out of them do not count.
        to: Where the copy goes; on a failure it is worth nothing.
        max_bytes: The most bytes that are taken.

    Raises:
        FileRefusedError: ``forbidden_source`` outside of the roots, ``bad_request`` if it is not
            there or no file, ``file_too_large``.
        OSError: The disk failed.
    """
    root, way = _placed(text, roots)
    with _opened(text, root, way) as source, to.open("wb") as copy:
        left = max_bytes
        while piece := source.read(_PIECE):
            left -= len(piece)
            if left < 0:
                raise too_large(text, max_bytes)
            copy.write(piece)


def _placed(text: str, roots: Iterable[Path]) -> tuple[Path, tuple[str, ...]]:
    """The root in which a path ends, and the way from there, both without links."""
    try:
        path = Path(text)
        real = path.resolve()
        folders = [root.resolve() for root in roots] if path.is_absolute() else []
    except (OSError, RuntimeError, ValueError) as error:
        # A null byte, a name that is too long, links in a circle.
        raise _no_file(f"{text!r} is no path of a file.") from error
    for folder in folders:
        if real.is_relative_to(folder):
            return folder, real.relative_to(folder).parts
    raise FileRefusedError(
        "forbidden_source", f"{text} does not lie in a folder that is open for jobs.", _REMEDY
    )


@contextmanager
def _opened(text: str, root: Path, way: tuple[str, ...]) -> Iterator[BinaryIO]:
    if not way:
        raise _no_file(f"{text} is a folder, not a file.")
    with _refused(text):
        at = os.open(root, _FOLDER)
        try:
            for name in way[:-1]:
                inner = os.open(name, _FOLDER, dir_fd=at)
                os.close(at)
                at = inner
            # Looked at before it is opened too: opening a device may do something.
            _insist_on_a_file(text, os.stat(way[-1], dir_fd=at, follow_symlinks=False))
            found = os.open(way[-1], _FILE, dir_fd=at)
        finally:
            os.close(at)
    with os.fdopen(found, "rb") as file:
        _insist_on_a_file(text, os.fstat(found))
        yield file


def _insist_on_a_file(text: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise _no_file(f"{text} is not a file.")


@contextmanager
def _refused(text: str) -> Iterator[None]:
    """What is not there, may not be read, or has become a link since it was looked up."""
    try:
        yield
    except OSError as error:
        raise _no_file(f"The file {text} cannot be read: {error.strerror}.") from error


def _no_file(message: str) -> FileRefusedError:
    return FileRefusedError("bad_request", message, _REMEDY)
