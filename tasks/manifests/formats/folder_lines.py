"""Lines of a folder: its images by name."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tasks.manifests.lines import ManifestError, ManifestLine

IMAGE_SUFFIXES: Final = frozenset(
    {
        *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".heic", ".heif"),
        *(".avif", ".tiff", ".tif", ".bmp"),
    }
)
"""Suffixes of images. Whether a file is one is checked later, by its content."""


def read_folder(folder: Path) -> Iterator[ManifestLine]:
    """Return the images of a folder, without hidden files and sub-folders.

    Broken links and pipes are returned too, so that they are rejected by name and not ignored.

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
        raise ManifestError(f"{folder} has no images ({', '.join(sorted(IMAGE_SUFFIXES))}).")
    return (
        ManifestLine(number, {"image": name}, raw=(name,))
        for number, name in enumerate(names, start=1)
    )
