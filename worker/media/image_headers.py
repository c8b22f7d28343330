"""Reads the headers of images: their properties, and the memory that their pixels will need.

Headers are checked before any pixel is decoded: a file of a few bytes may declare an image that
fills all memory.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngImageFile
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
from worker.media.formats.deep_gray import is_deep
from worker.media.formats.png_chunks import refuse_app_png
from worker.media.formats.readable_parts import ReadableParts, readable_parts
from worker.media.formats.tiff_pages import refuse_camera_raw, seek_picture
from worker.media.jpeg_scans import MAX_PIXELS_PER_BYTE, decodes_row_by_row
from worker.media.refusals import (
    MAX_BYTES,
    bad_image_file,
    check_shape,
    check_size,
    refuse_on_error,
    too_large,
    unsupported_image,
)

MAX_PIXELS: Final = 100 * 10**6
"""The most pixels that are decoded of one image: about 400 MB at four bytes each."""
MAX_SIDE: Final = 8192
"""The longest side of an uploaded image, in pixels."""
MAX_IMAGE_MEMORY: Final = 12 * MAX_PIXELS
"""The memory for preparing one image, in bytes; a WEBP near the limit takes two thirds more."""

# Pillow tries only the decoder of the detected type.
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
# Types that are accepted over the upload limit, to be scaled down. The other types are read into
# memory as a whole, or may be animated, and animations are not scaled.
_SCALED_AT_ANY_LENGTH: Final = frozenset({JPEG, PNG, TIFF, BMP})
_REDUCTIONS: Final = (1, 2, 4, 8)
# Measured. They include a copy of the pixels while they are rotated, scaled or converted, and the
# buffers of the decoder.
_BYTES_PER_PIXEL: Final = {JPEG: 8, WEBP: 20}
_BYTES_PER_PIXEL_OTHERWISE: Final = 12
_BYTES_PER_COEFFICIENT: Final = 2

register_heif_opener()
# `open_image` checks a limit instead, with an error that states the size.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True, slots=True)
class ImageProperties:
    """Properties of an image, known before its pixels are decoded.

    Width and height are those of the stored pixels, before any rotation.
    """

    path: Path
    name: str
    kind: FileType
    bytes: int
    width: int
    height: int
    frames: int
    is_rotated: bool
    is_cut_off: bool
    """Whether it is a JPEG whose last bytes, and perhaps a part of the picture, are missing."""
    dropped: tuple[str, ...]
    """Descriptions, for people, of parts of the image that are left out."""
    has_alpha: bool
    is_deep: bool
    """Whether it is gray with more than eight bits a pixel, which many programs show as white."""
    is_cmyk: bool
    """Whether it has colors for print, which many programs show wrongly or not at all."""
    has_metadata: bool

    @property
    def is_oversized(self) -> bool:
        """Whether it is larger than an uploaded image may be."""
        return max(self.width, self.height) > MAX_SIDE


@contextmanager
def checked_image(source: Path, name: str) -> Iterator[FileType]:
    """Check an image's size and type, and refuse it for any decoder error inside the block.

    Raises:
        FileRefusedError: It is empty, too large, not an image, or damaged.
        OSError: The disk failed, so nothing is known about the image.
    """
    size = check_size(source, name)
    kind = detect_file_type(source)
    if size > MAX_BYTES and kind not in _SCALED_AT_ANY_LENGTH:
        raise too_large(name, size, MAX_BYTES)
    if kind is None:
        raise unsupported_image(name, "is not a supported image")
    if kind.family != "image":
        raise unsupported_image(name, f"is a {kind.name} file, not an image")
    if kind is TIFF:
        refuse_camera_raw(source, name)
    if kind is PNG:
        refuse_app_png(source, name)
    # Pillow warns about unusual files; the problems that matter raise an error.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    warnings.filterwarnings("ignore", module=r"pillow_heif\b")
    with refuse_on_error(bad_image_file(name, f"is a damaged {kind.name} image")):
        yield kind


def check_image_shape(source: Path, name: str) -> None:
    """Refuse an image whose width and height no video model can use; blocks while it reads them.

    A damaged file passes: it is refused when it is decoded.

    Raises:
        FileRefusedError: It is too small, or too long for its width, or a camera raw file.
        OSError: The disk failed.
    """
    if detect_file_type(source) is TIFF:
        refuse_camera_raw(source, name)
    size = None
    with suppress(FileRefusedError), checked_image(source, name) as kind:
        size = image_size(source, kind)
    if size is not None:
        check_shape(name, *size)


def memory_needed(source: Path, name: str) -> int:
    """Return the most bytes that preparing a file will take; 0 if it is not an image.

    Blocks while it reads the header.

    Raises:
        FileRefusedError: It is an image that cannot be used.
        OSError: The disk failed.
    """
    found = detect_file_type(source)
    if found is None or found.family != "image":
        return 0
    with checked_image(source, name) as kind, open_image(source, name, kind) as image:
        if kind is AVIF:
            # Its decoder ignores the size in the header, so it may need the whole budget.
            return MAX_IMAGE_MEMORY
        decoded = _pixels_of(image) * _BYTES_PER_PIXEL.get(kind, _BYTES_PER_PIXEL_OTHERWISE)
        if kind is JPEG and not decodes_row_by_row(source):
            decoded += image.width * image.height * len(image.getbands()) * _BYTES_PER_COEFFICIENT
        return decoded


def read_properties(source: Path, name: str, kind: FileType) -> ImageProperties:
    """Read the properties of an image. Decodes it only if reading its EXIF data requires that.

    Raises:
        FileRefusedError: It has too many pixels.
    """
    parts = _parts_of(source, kind)
    with open_image(source, name, kind) as image:
        width, height = image_size(source, kind)
        exif = _exif_of(image)
        dropped = parts.dropped
        if exif is None:
            dropped += ("unreadable EXIF data removed, with the orientation if it held one",)
        return ImageProperties(
            path=source,
            name=name,
            kind=kind,
            bytes=source.stat().st_size,
            width=width,
            height=height,
            # Further images in a JPEG are from the camera, not frames of an animation.
            frames=1 if kind is JPEG else getattr(image, "n_frames", 1),
            is_rotated=exif is not None and exif.get(ExifTags.Base.Orientation, 1) in range(2, 9),
            is_cut_off=parts.is_cut_off,
            dropped=dropped,
            has_alpha=image.has_transparency_data,
            is_deep=is_deep(image),
            is_cmyk=image.mode == "CMYK",
            has_metadata=exif is None or bool(exif) or "xmp" in image.info or parts.has_text,
        )


@contextmanager
def open_image(source: Path, name: str, kind: FileType) -> Iterator[Image.Image]:
    """Open an image for decoding. A JPEG with too many pixels is decoded at a reduced size.

    Raises:
        FileRefusedError: It has, or declares, too many pixels.
    """
    with _open(source, kind) as image:
        pixels = _pixels_of(image)
        # The limit is checked before the orientation is read, which decodes all of a PNG.
        if pixels > MAX_PIXELS:
            if image.width * image.height <= MAX_PIXELS:
                raise bad_image_file(
                    name, "is stored in tiles with more pixels than can be decoded"
                )
            if kind is not JPEG or not decodes_row_by_row(source):
                raise _too_many_pixels(name, image, kind)
            if pixels > source.stat().st_size * MAX_PIXELS_PER_BYTE:
                raise bad_image_file(
                    name,
                    f"declares {image.width} by {image.height} pixels, for which the file is too "
                    "short",
                )
            reduction = next(by for by in _REDUCTIONS if pixels <= MAX_PIXELS * by * by)
            image.draft(None, (image.width // reduction, image.height // reduction))
        yield image


def image_size(source: Path, kind: FileType) -> tuple[int, int]:
    """Return width and height from the header, whatever they are."""
    with _open(source, kind) as image:
        return image.size


@contextmanager
def _open(source: Path, kind: FileType) -> Iterator[Image.Image]:
    # Pillow gets an open file, not a name: it maps a named file into memory, and then scrambles a
    # TIFF that is stored rotated.
    parts = _parts_of(source, kind)
    with (
        source.open("rb") as file,
        Image.open(parts.open(file), formats=_DECODERS[kind]) as image,
    ):
        if isinstance(image, TiffImageFile):
            seek_picture(image)
        yield image


def _parts_of(source: Path, kind: FileType) -> ReadableParts:
    with source.open("rb") as file:
        return readable_parts(file, kind)


def _exif_of(image: Image.Image) -> Image.Exif | None:
    """Return the EXIF data of an image; None if it cannot be read.

    Raises:
        Exception: It is a PNG, whose pixels are decoded first, and they cannot be decoded.
    """
    if isinstance(image, PngImageFile):
        image.load()
    try:
        return image.getexif()
    except Exception:  # noqa: BLE001 -- decoders raise errors of any kind for hostile data
        return None


def _pixels_of(image: Image.Image) -> int:
    """Return how many pixels are decoded at a time: a TIFF tile may be larger than the image."""
    pixels = image.width * image.height
    if isinstance(image, TiffImageFile):
        tile = (int(image.tag_v2.get(tag, 1)) for tag in (TILEWIDTH, TILELENGTH))
        pixels = max(pixels, math.prod(tile))
    return pixels


def _too_many_pixels(name: str, image: Image.Image, kind: FileType) -> FileRefusedError:
    form = "progressive JPEG" if kind is JPEG else kind.name
    return FileRefusedError(
        "bad_image",
        f"{name} has {image.width} by {image.height} pixels. A {form} image is decoded as a whole, "
        f"so it may have at most {MAX_PIXELS // 10**6} million.",
        "Save it as a plain JPEG (not progressive), which may have any size, or scale it down to "
        f"at most {MAX_SIDE} pixels on the longer side.",
    )
