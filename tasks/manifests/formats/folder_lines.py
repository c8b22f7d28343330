"""Lines of a folder: its images by name."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from tasks.manifests.lines import ManifestError, ManifestLine

IMAGE_SUFFIXES: Final = frozenset(
    {
        *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".heic", ".heif"),
        *(".avif", ".tiff", ".tif", ".bmp"),
    }
)
"""Suffixes of images. Whether a file is one is checked later, by its content."""
LISTED_SUFFIXES: Final = ", ".join(sorted(IMAGE_SUFFIXES))

_SYSTEM_FILES: Final = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
"""Files that operating systems create in folders of images."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file or folder in a manifest that is not submitted, and why."""

    name: str
    reason: str

    @classmethod
    def not_image(cls, name: str) -> "LeftOut":
        """Return a file that does not have the suffix of an image."""
        suffix = PurePosixPath(name).suffix.lower() or "without a suffix"
        return cls(name, f"not an image ({suffix})")


def left_out_of(folder: Path) -> Iterator[LeftOut]:
    """Yield what `read_folder` leaves out of a folder, by name, except hidden files.

    Raises:
        ManifestError: The folder cannot be read.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise ManifestError(f"{folder} cannot be read: {error.strerror}.") from error
    for path in paths:
        if path.name.startswith(".") or path.name.lower() in _SYSTEM_FILES:
            continue
        if path.is_dir():
            yield LeftOut(path.name, "a sub-folder: submit it as a batch of its own")
        elif path.suffix.lower() not in IMAGE_SUFFIXES:
            yield LeftOut.not_image(path.name)


def read_folder(folder: Path) -> Iterator[ManifestLine]:
    """Return the images of a folder, without hidden files and sub-folders.

    Broken links and pipes are returned too: they are rejected by name, instead of ignored.

    Raises:
        ManifestError: The folder has no images, or cannot be read.
    """
    try:
        names = sorted(
            path.name
            for path in folder.iterdir()
            if path.suffix.lower() in IMAGE_SUFFIXES
            and not path.is_dir()
            and not path.name.startswith(".")
        )
    except OSError as error:
        raise ManifestError(f"{folder} cannot be read: {error.strerror}.") from error
    if not names:
        raise ManifestError(f"{folder} has no images ({LISTED_SUFFIXES}).")
    return (
        ManifestLine(number, {"image": name}, raw=(name,))
        for number, name in enumerate(names, start=1)
    )
