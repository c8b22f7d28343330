"""Copies local files that another service names by path, if they are in an allowed folder.

From the allowed folder down, each folder is opened relative to its parent and never through a link.
So a change of the path after the check has no effect. The copy is made from the file that was
opened and checked.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from worker.file_refusal import FileRefusedError, too_large
from worker.storage.file_spellings import FileSpellings

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
# Opening a pipe without a writer would block.
_FILE: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW
_CHUNK: Final = 1 << 20
_REMEDY: Final = (
    "Name a file in a folder of REELQUEUE_MEDIA_ROOTS, or submit it with the command line."
)


def copy_allowed_file(text: str, roots: Iterable[object], to: Path, *, max_bytes: int) -> None:
    """Copy a file that another service names by path. Blocks.

    Args:
        text: An absolute path.
        roots: The allowed folders. Addresses of stores among them are ignored. A symbolic link
            that leads out of a folder is not allowed.
        to: Where the copy goes; it is incomplete after an error.
        max_bytes: The largest file that is accepted.

    Raises:
        FileRefusedError: It is outside of the allowed folders (``forbidden_source``), is missing
            or not a file (``bad_request``), or too large (``file_too_large``).
        OSError: The disk failed.
    """
    root, parts = check_allowed(text, roots)
    with _open(text, root, parts) as source, to.open("wb") as copy:
        left = max_bytes
        while chunk := source.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise too_large(text, max_bytes)
            copy.write(chunk)


def check_allowed(text: str, roots: Iterable[object]) -> tuple[Path, tuple[str, ...]]:
    """Check that a path is valid and in an allowed folder, without reading the file. Blocks.

    Returns:
        The allowed folder that holds the path, and the path inside it, both without links.

    Raises:
        FileRefusedError: It is not in one (``forbidden_source``), or is invalid (``bad_request``).
    """
    try:
        path = Path(text)
        real = path.resolve()
        allowed = roots if path.is_absolute() else ()
        folders = [root.resolve() for root in allowed if isinstance(root, Path)]
    except (OSError, RuntimeError, ValueError) as error:
        # A null byte, a name that is too long, or a loop of links.
        raise _bad_request(f"{text!r} is not a valid path.") from error
    for folder in folders:
        if real.is_relative_to(folder):
            # Another spelling may name a link out of the folder, but `_open` follows no links.
            return folder, FileSpellings().find(real).relative_to(folder).parts
    raise FileRefusedError("forbidden_source", f"{text} is not in an allowed folder.", _REMEDY)


@contextmanager
def _open(text: str, root: Path, parts: tuple[str, ...]) -> Iterator[BinaryIO]:
    if not parts:
        raise _bad_request(f"{text} is a folder, not a file.")
    with _read_errors(text):
        folder = os.open(root, _FOLDER)
        try:
            for name in parts[:-1]:
                inner = os.open(name, _FOLDER, dir_fd=folder)
                os.close(folder)
                folder = inner
            # Also checked before it is opened, because opening a device may have an effect.
            _require_file(text, os.stat(parts[-1], dir_fd=folder, follow_symlinks=False))
            descriptor = os.open(parts[-1], _FILE, dir_fd=folder)
        finally:
            os.close(folder)
    with os.fdopen(descriptor, "rb") as file:
        _require_file(text, os.fstat(descriptor))
        yield file


def _require_file(text: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise _bad_request(f"{text} is not a file.")


@contextmanager
def _read_errors(text: str) -> Iterator[None]:
    """Refuse a path that is missing, may not be read, or has become a link since it was checked."""
    try:
        yield
    except OSError as error:
        raise _bad_request(f"The file {text} cannot be read: {error.strerror}.") from error


def _bad_request(message: str) -> FileRefusedError:
    return FileRefusedError("bad_request", message, _REMEDY)
