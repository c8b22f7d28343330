"""Limits on files, and the refusals of files that cannot be used."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from worker.file_refusal import FileRefusedError
from worker.media.file_types import ATTACHMENT_FORMATS, IMAGE_FORMATS

MAX_BYTES: Final = 200 * 10**6
"""The largest file that the video API accepts, in bytes: "200 MB", read the stricter way."""
MAX_SOURCE_BYTES: Final = 500 * 10**6
"""The largest file that is opened: an image can be scaled down to what may be uploaded."""

MIN_SIDE: Final = 64
"""The shortest side of an image that a video model can use, in pixels."""
MAX_ASPECT: Final = 8
"""How many times longer than the other a side of an image may be."""

_DISK_ERRORS: Final = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOENT,
        errno.ENOSPC,
        errno.EPERM,
        errno.EROFS,
    }
)


def unsupported_image(name: str, problem: str) -> FileRefusedError:
    """Build the refusal of a file that is not a supported image."""
    return FileRefusedError(
        "unsupported_file",
        f"{name} {problem}.",
        f"Submit an image in one of these formats: {IMAGE_FORMATS}.",
    )


def unsupported_attachment(name: str, problem: str) -> FileRefusedError:
    """Build the refusal of an attachment that is not a supported image, video or audio file."""
    return FileRefusedError(
        "unsupported_file",
        f"{name} {problem}.",
        f"Attach a file in one of these formats: {ATTACHMENT_FORMATS}.",
    )


def bad_image_file(name: str, problem: str) -> FileRefusedError:
    """Build the refusal of an image that is damaged or empty."""
    return FileRefusedError(
        "bad_image",
        f"{name} {problem}.",
        f"Save or export the image again, in one of these formats: {IMAGE_FORMATS}. "
        "Then submit the new file.",
    )


def check_shape(name: str, width: int, height: int) -> None:
    """Refuse an image that no video model can use, before anything is paid for it.

    Raises:
        FileRefusedError: ``bad_image``: it is too small, or too long for its width.
    """
    size = f"{name} has {width} by {height} pixels"
    if min(width, height) < MIN_SIDE:
        raise FileRefusedError(
            "bad_image",
            f"{size}. A video needs at least {MIN_SIDE} on each side.",
            "Submit the image in its original size, not a thumbnail.",
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise FileRefusedError(
            "bad_image",
            f"{size}. A video needs an image whose longer side is at most {MAX_ASPECT} times the "
            "shorter one.",
            "Crop the image, or put it on a larger background, and submit the new file.",
        )


def too_large(name: str, size: int, limit: int) -> FileRefusedError:
    """Build the refusal of a file that is over a size limit."""
    return FileRefusedError(
        "file_too_large",
        f"{name} has {megabytes(size)} MB; such a file may have at most {megabytes(limit)} MB.",
        "Compress or scale down the image, or trim the clip or the music, and submit it again.",
    )


def check_size(source: Path, name: str) -> int:
    """Refuse an empty file or one that is far too large, before it is opened.

    Returns:
        The size in bytes.

    Raises:
        FileRefusedError: ``file_too_large``, ``bad_image`` (empty) or ``unsupported_file`` (not a
            file).
        FileNotFoundError: The path does not exist.
    """
    size = source.stat().st_size
    if not source.is_file():
        raise unsupported_image(name, "is not a file")
    if size > MAX_SOURCE_BYTES:
        raise too_large(name, size, MAX_SOURCE_BYTES)
    if size == 0:
        raise bad_image_file(name, "is empty (0 bytes)")
    return size


@contextmanager
def refuse_on_error(refusal: FileRefusedError) -> Iterator[None]:
    """Raise a refusal for any error of a decoder. Errors of the disk are raised unchanged.

    On hostile input, decoders raise OSError, ValueError, SyntaxError, struct.error, OverflowError,
    MemoryError, EOFError and more, and each of them means that the content cannot be read.
    """
    try:
        yield
    except FileRefusedError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise
        raise refusal from error


def megabytes(size: int) -> str:
    """Format a size in MB, for people."""
    return f"{size / 10**6:.1f}".removesuffix(".0")
