"""What a dry run finds out about images. Each is opened once, when its content is hashed."""

import threading
from pathlib import Path

from tasks.producer.local_files import hash_only
from worker.file_refusal import FileRefusedError
from worker.media.file_types import detect_file_type
from worker.media.images import ImageLook, measure_look


class ImageLooks:
    """The looks of images by their media keys, or why an image cannot be used."""

    def __init__(self) -> None:
        self._found: dict[str, ImageLook | str | None] = {}
        self._lock = threading.Lock()

    def measure(self, path: Path, name: str) -> str:
        """Return the media key of a file, which is not stored, and note how it looks."""
        key = hash_only(path, name)
        # Decoding needs memory, so it is done for one image at a time.
        with self._lock:
            if key not in self._found:
                self._found[key] = _measure(path, name)
        return key

    def of(self, key: str) -> ImageLook | str | None:
        """Return the look of an image, or why it cannot be used; None if that is not known."""
        return self._found.get(key)


def _measure(path: Path, image: str) -> ImageLook | str | None:
    kind = detect_file_type(path)
    if kind is None or kind.family != "image":
        return None  # an attachment
    try:
        return measure_look(path, image)
    except FileRefusedError as error:
        return f"image: {error.message} {error.remedy}"
    except OSError as error:
        return f"image: {image} cannot be read: {error.strerror}"
