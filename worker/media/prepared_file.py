"""A file that is ready for upload."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from worker.media.file_types import FileType
from worker.shown_text import without_harmful

_LONGEST_STEM: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedFile:
    """A file as it is uploaded.

    Attributes:
        path: Where it is: the given file if nothing had to be changed.
        name: Its name in the upload, with a suffix that matches its content.
        content_type: Its MIME type.
        bytes: Its size.
        sha256: Its digest, in hex.
        changes: What was changed, for people; empty if nothing was.
    """

    path: Path
    name: str
    content_type: str
    bytes: int
    sha256: str
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedImage(PreparedFile):
    """An image as it is uploaded, with its width and height in pixels."""

    width: int
    height: int


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def upload_name(given: str, kind: FileType) -> str:
    """Make a file name without folders and control characters, with a suffix of the file's type."""
    base = PurePosixPath(given.replace("\\", "/")).name
    clean = without_harmful(base).replace('"', "").strip(" .")
    path = PurePosixPath(clean or "file")
    if path.suffix.lower() in kind.suffixes:
        return path.stem[:_LONGEST_STEM] + path.suffix
    stem = path.stem if re.fullmatch(r"\.[A-Za-z0-9]{1,5}", path.suffix) else path.name
    return stem[:_LONGEST_STEM] + kind.suffix


def name_change(given: str, kind: FileType) -> tuple[str, ...]:
    """Describe the upload's name if its suffix differs from that of the given name."""
    name = upload_name(given, kind)
    if Path(name).suffix == Path(given).suffix:
        return ()
    return (f"named {name}, because it is a {kind.name} file",)
