"""A file that is fit for upload."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from worker.media.file_types import FileType

_LONGEST_STEM: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedFile:
    """A file as it leaves the house.

    Attributes:
        path: Where it lies: the file that was given when nothing had to be changed.
        name: What to call it at the upload; its ending fits the content.
        content_type: Its MIME type.
        bytes: Its size.
        sha256: Its digest, in hex.
        changes: What was done to it, in sentences for people; empty when it is as given.
    """

    path: Path
    name: str
    content_type: str
    bytes: int
    sha256: str
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedImage(PreparedFile):
    """A picture as it leaves the house; width and height in pixels, as it is seen."""

    width: int
    height: int


def sha256_of(path: Path) -> str:
    """The hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def upload_name(given: str, kind: FileType) -> str:
    """A plain file name for an upload: no folders, no control characters, an ending that fits."""
    base = PurePosixPath(given.replace("\\", "/")).name
    clean = re.sub(r'[\x00-\x1f\x7f"]+', "", base).strip(" .")
    path = PurePosixPath(clean or "file")
    if path.suffix.lower() in kind.suffixes:
        return path.stem[:_LONGEST_STEM] + path.suffix
    stem = path.stem if re.fullmatch(r"\.[A-Za-z0-9]{1,5}", path.suffix) else path.name
    return stem[:_LONGEST_STEM] + kind.suffix
