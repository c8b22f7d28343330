"""A first look at a picture: what its header says, and what memory its pixels will take.

Nothing is decoded before that: a file of a few bytes may claim a picture that fills all memory.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import TILELENGTH, TILEWIDTH, TiffImageFile
from pillow_heif import register_heif_opener

from worker.file_refusal import FileRefusedError
from worker.media.file_types import (
    AVIF,
    BMP,
    GIF,
    HEIC,
    JPEG,
    PNG,
    TIFF,
    WEBP,
    FileType,
    detect_file_type,
)
from worker.media.jpeg_scans import MAX_PIXELS_PER_BYTE, decodes_row_by_row
from worker.media.refusals import (
    MAX_BYTES,
    bad_image_file,
    check_size,
    refuse_on_error,
    too_large,
    unsupported_image,
)

MAX_PIXELS: Final = 100 * 10**6
"""The most pixels that are decoded of one picture: about 400 MB at four bytes each."""
MAX_SIDE: Final = 8192
"""The longest side of a picture that is sent, in pixels."""
MAX_IMAGE_MEMORY: Final = 12 * MAX_PIXELS
"""Bytes that preparing one picture takes at most; a WEBP near the limit takes two thirds more."""

# Only the decoder that the content asks for is let near it.
_DECODERS: Final = {
    JPEG: ("JPEG", "MPO"),
    PNG: ("PNG",),
    WEBP: ("WEBP",),
    GIF: ("GIF",),
    HEIC: ("HEIF",),
    AVIF: ("AVIF",),
    TIFF: ("TIFF",),
    BMP: ("BMP", "DIB"),
}
# The others are read into memory as they are, or move, and what moves is not scaled.
_SCALED_AT_ANY_LENGTH: Final = frozenset({JPEG, PNG, TIFF, BMP})
_REDUCTIONS: Final = (1, 2, 4, 8)
# Measured: the pixels, a copy while they are turned, scaled or converted, and what the decoder
# keeps of its own.
_BYTES_A_PIXEL: Final = {JPEG: 8, WEBP: 20}
_BYTES_A_PIXEL_ELSE: Final = 12
_BYTES_A_COEFFICIENT: Final = 2

register_heif_opener()
# Our own limit is checked right after opening: Pillow's would hide the size that it refuses.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What is known of a picture before its pixels are decoded; its sides as they are stored."""

    path: Path
    name: str
    kind: FileType
    bytes: int
    width: int
    height: int
    frames: int
    rotated: bool
    has_alpha: bool
    deep: bool
    """Grey of more than eight bits, which many programs take for all white."""
    has_metadata: bool

    @property
    def oversized(self) -> bool:
        """Whether it is longer than what is sent."""
        return max(self.width, self.height) > MAX_SIDE


@contextmanager
def checked_image(source: Path, name: str) -> Iterator[FileType]:
    """Tell the kind of a picture by its content; what goes wrong inside is its content's fault.

    Raises:
        FileRefusedError: It is empty, too large, no picture, or found damaged inside.
        OSError: The disk failed; nothing is said about the picture.
    """
    size = check_size(source, name)
    kind = detect_file_type(source)
    if size > MAX_BYTES and kind not in _SCALED_AT_ANY_LENGTH:
        raise too_large(name, size, MAX_BYTES)
    if kind is None:
        raise unsupported_image(name, "is not a picture that can be read")
    if kind.family != "image":
        raise unsupported_image(name, f"is a {kind.name} file, not a picture")
    # Pillow warns of odd files; what matters in them ends as an error, which is told.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    warnings.filterwarnings("ignore", module=r"pillow_heif\b")
    with refuse_on_error(bad_image_file(name, f"is a damaged {kind.name} picture")):
        yield kind


def memory_needed(source: Path, name: str) -> int:
    """Bytes that preparing a file will take at most, if it is a picture; else 0.

    Blocks for as long as it takes to read a header.

    Raises:
        FileRefusedError: It is a picture that cannot be used.
        OSError: The disk failed.
    """
    found = detect_file_type(source)
    if found is None or found.family != "image":
        return 0
    with checked_image(source, name) as kind, open_image(source, name, kind) as image:
        if kind is AVIF:
            # Its decoder follows the stream, whatever size the header says. One at a time, then.
            return MAX_IMAGE_MEMORY
        decoded = _pixels_of(image) * _BYTES_A_PIXEL.get(kind, _BYTES_A_PIXEL_ELSE)
        if kind is JPEG and not decodes_row_by_row(source):
            decoded += image.width * image.height * len(image.getbands()) * _BYTES_A_COEFFICIENT
        return decoded


def read_facts(source: Path, name: str, kind: FileType) -> ImageFacts:
    """Read what the header says, and no more than that decoded which it takes to know it.

    Raises:
        FileRefusedError: It has too many pixels.
    """
    with open_image(source, name, kind) as image:
        width, height = image_size(source, kind)
        exif = image.getexif()
        return ImageFacts(
            path=source,
            name=name,
            kind=kind,
            bytes=source.stat().st_size,
            width=width,
            height=height,
            # Further pictures in a JPEG belong to the camera, not to an animation.
            frames=1 if kind is JPEG else getattr(image, "n_frames", 1),
            rotated=exif.get(ExifTags.Base.Orientation, 1) in range(2, 9),
            has_alpha=image.has_transparency_data,
            deep=image.mode.startswith("I"),
            has_metadata=bool(exif) or "xmp" in image.info,
        )


@contextmanager
def open_image(source: Path, name: str, kind: FileType) -> Iterator[Image.Image]:
    """Open a picture to be decoded; a JPEG of any size is read at a size that can be.

    Raises:
        FileRefusedError: It has, or claims, too many pixels.
    """
    with _open(source, kind) as image:
        pixels = _pixels_of(image)
        # Before anything else: reading the orientation of a PNG decodes all of it.
        if pixels > MAX_PIXELS:
            if image.width * image.height <= MAX_PIXELS:
                raise bad_image_file(name, "is stored in tiles of more pixels than can be decoded")
            if kind is not JPEG or not decodes_row_by_row(source):
                raise _too_many_pixels(name, image, kind)
            if pixels > source.stat().st_size * MAX_PIXELS_PER_BYTE:
                raise _too_few_bytes(name, image)
            reduction = next(by for by in _REDUCTIONS if pixels <= MAX_PIXELS * by * by)
            image.draft(None, (image.width // reduction, image.height // reduction))
        yield image


def image_size(source: Path, kind: FileType) -> tuple[int, int]:
    """Width and height as the header says, whatever they are."""
    with _open(source, kind) as image:
        return image.size


@contextmanager
def _open(source: Path, kind: FileType) -> Iterator[Image.Image]:
    # By its content, not its name: what Pillow maps into memory by name, it maps with the sides
    # of the turned picture where a TIFF lies on its side, and scrambles it.
    with source.open("rb") as file, Image.open(file, formats=_DECODERS[kind]) as image:
        yield image


def _pixels_of(image: Image.Image) -> int:
    """How many pixels are decoded at once: a tile of a TIFF may be larger than the picture."""
    pixels = image.width * image.height
    if isinstance(image, TiffImageFile):
        tile = (int(image.tag_v2.get(tag, 1)) for tag in (TILEWIDTH, TILELENGTH))
        pixels = max(pixels, math.prod(tile))
    return pixels


def _too_many_pixels(name: str, image: Image.Image, kind: FileType) -> FileRefusedError:
    form = "progressive JPEG" if kind is JPEG else kind.name
    return FileRefusedError(
        "bad_image",
        f"{name} has {image.width} by {image.height} pixels; a {form} picture is held in memory "
        f"whole, and may have at most {MAX_PIXELS // 10**6} million.",
        "Save it as a plain JPEG, not a progressive one, which is scaled down here at any size, "
        f"or scale it down, best to at most {MAX_SIDE} pixels on the longer side.",
    )


def _too_few_bytes(name: str, image: Image.Image) -> FileRefusedError:
    return bad_image_file(
        name,
        f"claims {image.width} by {image.height} pixels, for which its file is far too short",
    )
