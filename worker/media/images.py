"""Prepares images for upload: checks, rotates, scales and converts them, and removes metadata."""

import io
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple
from uuid import uuid4

from PIL import Image, ImageCms, ImageOps

from worker.media.file_types import AVIF, BMP, GIF, HEIC, JPEG, PNG, TIFF, FileType, leading_bytes
from worker.media.formats.deep_gray import is_deep, to_eight_bits
from worker.media.formats.jpeg_ends import MAX_MISSING, missing_part
from worker.media.image_headers import (
    MAX_SIDE,
    ImageProperties,
    checked_image,
    image_size,
    open_image,
    read_properties,
)
from worker.media.metadata import MalformedError, strip_metadata
from worker.media.prepared_file import PreparedImage, name_change, sha256_of, upload_name
from worker.media.refusals import MAX_BYTES, bad_image_file, megabytes, too_large

_CONVERTED: Final = frozenset({HEIC, AVIF, TIFF, BMP})
_QUALITY: Final = 95
_SHRINK_MARGIN: Final = 0.95
_MIN_SHRINK: Final = 0.9
_MAX_SIZE: Final = (MAX_SIDE, MAX_SIDE)
_THUMBNAIL: Final = (128, 128)
_CUT_OFF: Final = "end of the file missing: a few blocks at the lower right may be gray"
_METADATA_REMOVED: Final = "metadata such as location and camera data removed"


def prepare_image(
    source: Path, name: str, workdir: Path, *, max_bytes: int = MAX_BYTES
) -> PreparedImage:
    """Prepare an image for upload. Its type is detected from its content, not from its name.

    JPEG, PNG, WEBP and GIF keep their pixels unless they must be rotated or scaled, or have CMYK
    colors. HEIC, AVIF, TIFF and BMP become JPEG, or PNG if they have transparency.
    Metadata is always removed, color profiles are kept. An image that is too large for an upload
    is scaled down until it is not. Blocks while it decodes: call it through
    `worker.resources.offload`, with the memory that `image_headers.memory_needed` returns.

    Args:
        source: The image. It is not changed.
        name: The image's name, for messages and for the upload.
        workdir: An existing folder for a changed copy, which is incomplete after a refusal.
        max_bytes: The largest file that can be uploaded.

    Returns:
        The image to upload: ``source`` itself if nothing had to be changed.

    Raises:
        FileRefusedError: It cannot be used: ``unsupported_file``, ``file_too_large`` or
            ``bad_image``.
        OSError: The disk failed, so nothing is known about the image.
    """
    with checked_image(source, name) as kind:
        clean = _without_leading_bytes(source, workdir)
        if clean is None:
            return _prepare(read_properties(source, name, kind), workdir, max_bytes)
        original = read_properties(clean, name, kind)
        original = replace(original, dropped=("bytes before the image removed", *original.dropped))
        return _prepare(original, workdir, max_bytes)


def _without_leading_bytes(source: Path, workdir: Path) -> Path | None:
    """Copy an image that does not begin at the start of its file; None if it does."""
    with source.open("rb") as file:
        start = leading_bytes(file.read(64))
        if not start:
            return None
        clean = workdir / uuid4().hex
        file.seek(start)
        with clean.open("wb") as sink:
            shutil.copyfileobj(file, sink)
        return clean


class ImageLook(NamedTuple):
    """The contrast of an image, from 0 to 255, and its shorter side in pixels."""

    contrast: float
    short_side: int


def measure_look(source: Path, name: str) -> ImageLook:
    """Return the contrast and the shorter side of an image. Blocks.

    The contrast is the difference between the 5th and the 95th percentile of gray levels in a
    thumbnail.

    Raises:
        FileRefusedError: It is not an image, or damaged.
        OSError: The disk failed.
    """
    with checked_image(source, name) as kind, open_image(source, name, kind) as image:
        short_side = min(image.size)
        image.draft("L", _THUMBNAIL)
        small = _eight_bits(image)[0]
        small.thumbnail(_THUMBNAIL)
        shades = sorted(small.convert("L").tobytes())
    edge = len(shades) // 20
    return ImageLook(float(shades[-1 - edge] - shades[edge]), short_side)


def _target_type(original: ImageProperties) -> FileType | None:
    """Return the type to encode an image as; None to keep its pixels as they are."""
    if original.kind in _CONVERTED:
        return PNG if original.has_alpha else JPEG
    if original.frames > 1:
        return None
    if not (original.is_rotated or original.is_oversized or original.is_deep or original.is_cmyk):
        return None
    return _encoded_type(original.kind)


def _encoded_type(kind: FileType) -> FileType:
    """Return the type as which an image of an uploadable type is encoded again."""
    return PNG if kind is GIF else kind


def _prepare(original: ImageProperties, workdir: Path, max_bytes: int) -> PreparedImage:
    if original.kind is JPEG:
        _check_complete(original)
    target = _target_type(original)
    if target is None:
        _decode(original)
        try:
            stripped = _strip(original, workdir)
        except MalformedError:
            if original.frames > 1:
                raise
            # Only the container is damaged: the pixels are encoded again, into a new one.
        else:
            if stripped.bytes <= max_bytes:
                return stripped
            if original.frames > 1:
                raise too_large(f"The animation {original.name}", stripped.bytes, max_bytes)
        target = _encoded_type(original.kind)
    copy = workdir / f"{uuid4().hex}{target.suffix}"
    return _prepared_image(copy, original, target, _encode(original, target, copy, max_bytes))


def _check_complete(original: ImageProperties) -> None:
    """Check that a JPEG holds nearly all of its picture. Decoders fill a missing part with gray.

    Raises:
        FileRefusedError: More than `MAX_MISSING` of it is missing.
    """
    missing = missing_part(original.path)
    if missing > MAX_MISSING:
        problem = f"is not complete: {missing:.0%} of the picture is missing"
        raise bad_image_file(original.name, problem)


def _strip(original: ImageProperties, workdir: Path) -> PreparedImage:
    copy = workdir / f"{uuid4().hex}{original.kind.suffix}"
    stripped = strip_metadata(original.path, original.kind, copy)
    damage = (*_damage(original), *stripped.damage)
    if stripped.bytes == 0 and not damage:
        copy.unlink()
        return _prepared_image(original.path, original, original.kind, ())
    removed = stripped.bytes > 0 and (original.has_metadata or not damage)
    changes = (*damage, *((_METADATA_REMOVED,) if removed else ()))
    return _prepared_image(copy, original, original.kind, changes)


def _damage(original: ImageProperties) -> tuple[str, ...]:
    """Describe, for people, the parts of the image that are dropped or missing."""
    return original.dropped + ((_CUT_OFF,) if original.is_cut_off else ())


def _prepared_image(
    path: Path, original: ImageProperties, kind: FileType, changes: tuple[str, ...]
) -> PreparedImage:
    if kind is original.kind:
        changes += name_change(original.name, kind)
    width, height = image_size(path, kind)
    return PreparedImage(
        path=path,
        name=upload_name(original.name, kind),
        content_type=kind.content_type,
        bytes=path.stat().st_size,
        sha256=sha256_of(path),
        changes=changes,
        width=width,
        height=height,
    )


def _decode(original: ImageProperties) -> None:
    """Decode the first frame once, to find damage."""
    with open_image(original.path, original.name, original.kind) as image:
        # A JPEG that is decoded at an eighth of its size is still read to its end.
        image.draft(image.mode, (max(1, image.width // 8), max(1, image.height // 8)))
        image.load()


def _encode(
    original: ImageProperties, target_type: FileType, to: Path, max_bytes: int
) -> tuple[str, ...]:
    """Encode the image, upright and without metadata; return what was changed."""
    changes = [*_damage(original)]
    if target_type is not original.kind:
        changes.append(f"converted from {original.kind.name} to {target_type.name}")
    with open_image(original.path, original.name, original.kind) as image:
        # Scaled first, because rotating doubles the memory. Pillow cannot scale deep gray.
        if not original.is_deep:
            image.thumbnail(_MAX_SIZE, Image.Resampling.LANCZOS)
        image.load()
        if original.is_rotated:
            _rotate_upright(image)
        kept = "the first" if image.tell() == 0 else "the largest"
        upright, profile = _eight_bits(image)
        upright.thumbnail(_MAX_SIZE, Image.Resampling.LANCZOS)
        size = _write(upright, profile, target_type, to, max_bytes)
    before = (
        (original.height, original.width)
        if _swaps_sides(original, size)
        else (original.width, original.height)
    )
    if original.is_deep:
        changes.append("reduced to eight bits a pixel")
    if original.is_cmyk:
        changes.append("converted from CMYK to RGB")
    if original.is_rotated:
        changes.append("rotated upright")
    if size != before:
        changes.append(
            f"scaled down from {before[0]} by {before[1]} to {size[0]} by {size[1]} pixels"
        )
    if original.bytes > max_bytes:
        now = to.stat().st_size
        changes.append(f"made smaller, from {megabytes(original.bytes)} to {megabytes(now)} MB")
    if original.frames > 1:
        changes.append(f"only {kept} of {original.frames} images kept")
    if original.has_metadata:
        changes.append(_METADATA_REMOVED)
    return tuple(changes)


def _rotate_upright(image: Image.Image) -> None:
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001, S110 -- the image is rotated, only writing EXIF failed
        pass


def _write(
    image: Image.Image, profile: bytes | None, target_type: FileType, to: Path, max_bytes: int
) -> tuple[int, int]:
    """Encode an image under the size limit, scaled down if needed; return its size in pixels."""
    # Encoders would write comments and other metadata from `info`.
    image.info = {}
    while True:
        # PNG ignores the quality.
        image.save(to, target_type.name, quality=_QUALITY, icc_profile=profile)
        size = to.stat().st_size
        if size <= max_bytes or image.size == (1, 1):
            return image.size
        by = min(_MIN_SHRINK, _SHRINK_MARGIN * math.sqrt(max_bytes / size))
        smaller = (max(1, int(image.width * by)), max(1, int(image.height * by)))
        image = image.resize(smaller, Image.Resampling.LANCZOS)


def _eight_bits(image: Image.Image) -> tuple[Image.Image, bytes | None]:
    """Convert an image of any mode to L, RGB or RGBA; return it and its color profile, if kept."""
    profile: bytes | None = image.info.get("icc_profile") or None
    if image.mode in {"L", "RGB"} and not image.has_transparency_data:
        return image, profile
    if is_deep(image):
        return to_eight_bits(image), profile
    if image.mode == "CMYK":
        return _from_cmyk(image, profile), None
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode), profile


def _from_cmyk(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert CMYK to RGB with its color profile, or with Pillow's formula if that fails."""
    if profile is not None:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            screen = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, screen, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")


def _swaps_sides(original: ImageProperties, size: tuple[int, int]) -> bool:
    """Return whether rotating the image exchanged its width and height."""
    return original.is_rotated and (original.width > original.height) != (size[0] > size[1])
