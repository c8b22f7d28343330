"""Prepare a picture: check it, turn it upright, take its metadata out, convert what must be."""

import io
import math
from pathlib import Path
from typing import Final
from uuid import uuid4

from PIL import Image, ImageCms, ImageOps

from worker.media.file_types import AVIF, BMP, GIF, HEIC, JPEG, PNG, TIFF, FileType
from worker.media.image_headers import (
    MAX_SIDE,
    ImageFacts,
    checked_image,
    image_size,
    open_image,
    read_facts,
)
from worker.media.metadata import MalformedError, strip_metadata
from worker.media.prepared_file import PreparedImage, sha256_of, upload_name
from worker.media.refusals import MAX_BYTES, format_megabytes, too_large

_CONVERTED: Final = frozenset({HEIC, AVIF, TIFF, BMP})
_QUALITY: Final = 95
_SPARE: Final = 0.95
_LEAST_SHRINK: Final = 0.9
_LARGEST: Final = (MAX_SIDE, MAX_SIDE)
_THUMBNAIL: Final = (128, 128)
_CLEANED: Final = "metadata such as location and camera data taken out"


def prepare_image(
    source: Path, name: str, workdir: Path, *, max_bytes: int = MAX_BYTES
) -> PreparedImage:
    """Make a picture fit for upload; content decides what it is, not its name.

    JPEG, PNG, WEBP and GIF keep their pixels unless they must be turned or scaled; HEIC, AVIF,
    TIFF and BMP become JPEG, or PNG where something is transparent. Metadata is always taken out,
    colour profiles are kept. What is too large to be sent is scaled down until it is not.
    Blocks while it decodes: call it through `worker.resources.offload`, in the memory that
    `worker.media.memory_needed` tells.

    Args:
        source: The picture. It is never changed.
        name: What people call it, for messages and for the upload's name.
        workdir: An existing folder for a changed copy; on a refusal, what is in it is worth
            nothing.
        max_bytes: The largest file that can be sent.

    Returns:
        The picture to send: ``source`` itself if nothing had to be changed.

    Raises:
        FileRefusedError: It cannot be used (the contract's 4001 and 4002, or ``bad_image``).
        OSError: The disk failed; nothing is said about the picture.
    """
    with checked_image(source, name) as kind:
        return _prepared(read_facts(source, name, kind), workdir, max_bytes)


def measure_contrast(source: Path, name: str) -> float:
    """How far the darker and the lighter parts of a picture lie apart, from 0 to 255.

    Measured on a thumbnail, between the darkest and the lightest twentieth. Blocks.

    Raises:
        FileRefusedError: It is no picture, or a damaged one.
        OSError: The disk failed.
    """
    with checked_image(source, name) as kind, open_image(source, name, kind) as image:
        image.draft("L", _THUMBNAIL)
        small = _eight_bits(image)[0]
        small.thumbnail(_THUMBNAIL)
        shades = sorted(small.convert("L").tobytes())
    edge = len(shades) // 20
    return float(shades[-1 - edge] - shades[edge])


def _goal(facts: ImageFacts) -> FileType | None:
    """Decide what to encode the picture as; None: its pixels stay as they are."""
    if facts.kind in _CONVERTED:
        return PNG if facts.has_alpha else JPEG
    if facts.frames > 1 or not (facts.rotated or facts.oversized or facts.deep):
        return None
    return _anew(facts.kind)


def _anew(kind: FileType) -> FileType:
    """What a picture that could be sent as it was is encoded as, if it must be."""
    return PNG if kind is GIF else kind


def _prepared(facts: ImageFacts, workdir: Path, max_bytes: int) -> PreparedImage:
    goal = _goal(facts)
    if goal is None:
        _decode(facts)
        try:
            kept = _stripped(facts, workdir)
        except MalformedError:
            if facts.frames > 1:
                raise
            # The pixels are sound, only the container is odd: a new one is made around them.
        else:
            if kept.bytes <= max_bytes:
                return kept
            if facts.frames > 1:
                # It is left as it is, and cannot be sent as it is.
                raise too_large(f"The animation {facts.name}", kept.bytes, max_bytes)
        goal = _anew(facts.kind)
    copy = workdir / f"{uuid4().hex}{goal.suffix}"
    return _described(copy, facts, goal, _encode(facts, goal, copy, max_bytes))


def _stripped(facts: ImageFacts, workdir: Path) -> PreparedImage:
    copy = workdir / f"{uuid4().hex}{facts.kind.suffix}"
    if strip_metadata(facts.path, facts.kind, copy):
        return _described(copy, facts, facts.kind, (_CLEANED,))
    copy.unlink()
    return _described(facts.path, facts, facts.kind, ())


def _described(
    path: Path, facts: ImageFacts, kind: FileType, changes: tuple[str, ...]
) -> PreparedImage:
    fitting = upload_name(facts.name, kind)
    if kind is facts.kind and Path(fitting).suffix != Path(facts.name).suffix:
        changes = (*changes, f"named {fitting}, because it is a {kind.name} picture")
    width, height = image_size(path, kind)
    return PreparedImage(
        path=path,
        name=fitting,
        content_type=kind.content_type,
        bytes=path.stat().st_size,
        sha256=sha256_of(path),
        changes=changes,
        width=width,
        height=height,
    )


def _decode(facts: ImageFacts) -> None:
    """Read all of the (first) picture once, so that a damaged one is found here."""
    with open_image(facts.path, facts.name, facts.kind) as image:
        # A JPEG read at an eighth of its size is read to its end all the same.
        image.draft(image.mode, (max(1, image.width // 8), max(1, image.height // 8)))
        image.load()


def _encode(facts: ImageFacts, goal: FileType, target: Path, max_bytes: int) -> tuple[str, ...]:
    """Write the picture anew, upright, without metadata; tell what was changed."""
    changes = []
    if goal is not facts.kind:
        changes.append(f"converted from {facts.kind.name} to {goal.name}")
    with open_image(facts.path, facts.name, facts.kind) as image:
        # Before it is turned, which takes as much memory once more; Pillow scales no wide greys.
        if not facts.deep:
            image.thumbnail(_LARGEST, Image.Resampling.LANCZOS)
        ImageOps.exif_transpose(image, in_place=True)
        upright, profile = _eight_bits(image)
        upright.thumbnail(_LARGEST, Image.Resampling.LANCZOS)
        size = _write(upright, profile, goal, target, max_bytes)
    before = (facts.height, facts.width) if _lies(facts, size) else (facts.width, facts.height)
    if facts.deep:
        changes.append("brought to eight bits a pixel")
    if facts.rotated:
        changes.append("turned upright")
    if size != before:
        changes.append(
            f"scaled down from {before[0]} by {before[1]} to {size[0]} by {size[1]} pixels"
        )
    if facts.bytes > max_bytes:
        now = target.stat().st_size
        changes.append(
            f"made smaller, from {format_megabytes(facts.bytes)} to {format_megabytes(now)} MB"
        )
    if facts.frames > 1:
        changes.append(f"the first of {facts.frames} pictures taken")
    if facts.has_metadata:
        changes.append(_CLEANED)
    return tuple(changes)


def _write(
    image: Image.Image, profile: bytes | None, goal: FileType, target: Path, max_bytes: int
) -> tuple[int, int]:
    """Encode under the size limit, scaling down as often as that takes; return the sides."""
    # Encoders write comments and more from here by themselves.
    image.info = {}
    while True:
        match goal.name:
            case "PNG":
                image.save(target, "PNG", icc_profile=profile)
            case "WEBP":
                image.save(target, "WEBP", quality=_QUALITY, icc_profile=profile or b"")
            case _:
                image.save(target, "JPEG", quality=_QUALITY, icc_profile=profile)
        size = target.stat().st_size
        if size <= max_bytes or image.size == (1, 1):
            return image.size
        by = min(_LEAST_SHRINK, _SPARE * math.sqrt(max_bytes / size))
        smaller = (max(1, int(image.width * by)), max(1, int(image.height * by)))
        image = image.resize(smaller, Image.Resampling.LANCZOS)


def _eight_bits(image: Image.Image) -> tuple[Image.Image, bytes | None]:
    """Bring a picture of any mode to L, RGB or RGBA, with the colour profile that still fits."""
    profile: bytes | None = image.info.get("icc_profile") or None
    if image.mode in {"L", "RGB"} and not image.has_transparency_data:
        return image, profile
    if image.mode.startswith("I;16"):
        return _stretched(image.convert("I"), 0, 2**16 - 1), profile
    if image.mode in {"I", "F"}:
        low, high = image.convert("F").getextrema()
        return _stretched(image, float(str(low)), float(str(high))), profile
    if image.mode == "CMYK":
        return _from_cmyk(image, profile), None
    goal = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == goal else image.convert(goal), profile


def _stretched(image: Image.Image, low: float, high: float) -> Image.Image:
    """Map the values from ``low`` to ``high`` onto 0 to 255."""
    scale = 255 / ((high - low) or 1)
    return image.point(lambda value: value * scale - low * scale).convert("L")


def _from_cmyk(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert printing colours by their own profile, else by the plain formula."""
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


def _lies(facts: ImageFacts, size: tuple[int, int]) -> bool:
    """Whether turning the picture upright exchanged its sides."""
    return facts.rotated and (facts.width > facts.height) != (size[0] > size[1])
