"""Why a file is not taken, in words for people."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from worker.file_refusal import FileRefusedError
from worker.media.file_types import ATTACHMENT_FORMATS, IMAGE_FORMATS

MAX_BYTES: Final = 200 * 10**6
"""The largest file that the video API takes, in bytes. «200 MB», read the stricter way."""
MAX_SOURCE_BYTES: Final = 500 * 10**6
"""The largest file that is looked at: a picture in it can be scaled down to what may be sent."""

_OF_THE_DISK: Final = frozenset(
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


def unsupported_image(name: str, found: str) -> FileRefusedError:
    """Refuse what is no picture that can be used."""
    return FileRefusedError(
        "unsupported_file",
        f"{name} {found}.",
        f"Send a picture in one of these formats: {IMAGE_FORMATS}.",
    )


def unsupported_attachment(name: str, found: str) -> FileRefusedError:
    """Refuse what is no picture, video or sound that can be used."""
    return FileRefusedError(
        "unsupported_file",
        f"{name} {found}.",
        f"Attach a file in one of these formats: {ATTACHMENT_FORMATS}.",
    )


def bad_image_file(name: str, found: str) -> FileRefusedError:
    """Refuse a picture that is damaged or empty."""
    return FileRefusedError(
        "bad_image",
        f"{name} {found}.",
        f"Save or export the picture again, as one of {IMAGE_FORMATS}, and send that file.",
    )


def too_large(name: str, size: int, most: int) -> FileRefusedError:
    """Refuse what has more bytes than it may have."""
    return FileRefusedError(
        "file_too_large",
        f"{name} has {format_megabytes(size)} MB; "
        f"such a file may have at most {format_megabytes(most)} MB.",
        "Compress or scale down the picture, or trim the clip or the music, and send it again.",
    )


def check_size(source: Path, name: str) -> int:
    """Refuse what is empty or far too large before it is opened.

    Returns:
        The size in bytes.

    Raises:
        FileRefusedError: ``file_too_large``, ``bad_image`` (empty) or ``unsupported_file`` (not a
            file).
        FileNotFoundError: There is nothing at that path.
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
    """Turn whatever a decoder raises into a refusal; faults of the disk stay what they are.

    Decoders answer hostile bytes with OSError, ValueError, SyntaxError, struct.error,
    OverflowError, MemoryError, EOFError and more; every one of them means the same here.
    """
    try:
        yield
    except FileRefusedError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            raise
        raise refusal from error


def format_megabytes(size: int) -> str:
    """A size in MB, for people."""
    return f"{size / 10**6:.1f}".removesuffix(".0")
