"""Prepare a picture: check it, turn it upright, take its metadata out, convert what must be."""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from PIL import ExifTags, Image, ImageCms, ImageOps
from pillow_heif import register_heif_opener

from worker.media.kinds import AVIF, BMP, GIF, HEIC, JPEG, PNG, TIFF, WEBP, Kind, recognise
from worker.media.metadata import MalformedError, strip_metadata
from worker.media.prepared import PreparedImage, fitting_name, sha256_of
from worker.media.refusals import (
    MAX_BYTES,
    MediaRefused,
    admit,
    bad_picture,
    content_at_fault,
    unsupported_picture,
)

MAX_PIXELS: Final = 100 * 10**6
"""The most pixels of a picture that is decoded: about 400 MB of memory at four bytes each."""
MAX_SIDE: Final = 8192
"""The longest side of a picture that is sent, in pixels."""

_CONVERTED: Final = frozenset({HEIC, AVIF, TIFF, BMP})
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
_QUALITY: Final = 95
_SHRINK: Final = 0.7
_THUMBNAIL: Final = (128, 128)
_CLEANED: Final = "metadata such as location and camera data taken out"

register_heif_opener()
# Our own limit is checked right after opening: Pillow's would hide the size that it refuses.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is known of a picture before its pixels are decoded."""

    kind: Kind
    width: int
    height: int
    frames: int
    turned: bool
    alpha: bool
    metadata: bool

    @property
    def oversized(self) -> bool:
        return max(self.width, self.height) > MAX_SIDE


def prepare_image(source: Path, name: str, workdir: Path) -> PreparedImage:
    """Make a picture fit for upload; content decides what it is, not its name.

    JPEG, PNG, WEBP and GIF keep their pixels unless they must be turned or scaled; HEIC, AVIF,
    TIFF and BMP become JPEG, or PNG where something is transparent. Metadata is always taken out,
    colour profiles are kept. Blocks while it decodes: call it through `worker.offload`.

    Args:
        source: The picture. It is never changed.
        name: What people call it, for messages and for the upload's name.
        workdir: An existing folder for a changed copy; on a refusal, what is in it is worth
            nothing.

    Returns:
        The picture to send: ``source`` itself if nothing had to be changed.

    Raises:
        MediaRefused: It cannot be used (the contract's 4001 and 4002, or ``bad_image``).
        OSError: The disk failed; nothing is said about the picture.
    """
    admit(source, name)
    kind = recognise(source)
    if kind is None:
        raise unsupported_picture(name, "is not a picture that can be read")
    if kind.family != "picture":
        raise unsupported_picture(name, f"is a {kind.name} file, not a picture")
    _silence_pillow()
    with content_at_fault(bad_picture(name, f"is a damaged {kind.name} picture")):
        return _prepared(source, name, _look(source, name, kind), workdir)


def contrast_of(source: Path, name: str) -> float:
    """How far the darker and the lighter parts of a picture lie apart, from 0 to 255.

    Measured on a thumbnail, between the darkest and the lightest twentieth. Blocks.

    Raises:
        MediaRefused: It is no picture, or a damaged one.
        OSError: The disk failed.
    """
    admit(source, name)
    kind = recognise(source)
    if kind is None or kind.family != "picture":
        raise unsupported_picture(name, "is no picture")
    _silence_pillow()
    with content_at_fault(bad_picture(name, f"is a damaged {kind.name} picture")):
        _look(source, name, kind)
        with Image.open(source, formats=_DECODERS[kind]) as image:
            image.draft("L", _THUMBNAIL)
            image.thumbnail(_THUMBNAIL)
            shades = sorted(_eight_bits(image)[0].convert("L").tobytes())
    edge = len(shades) // 20
    return float(shades[-1 - edge] - shades[edge])


def _look(source: Path, name: str, kind: Kind) -> _Facts:
    with Image.open(source, formats=_DECODERS[kind]) as image:
        # Before anything else: reading the orientation of a PNG decodes all of it.
        if image.width * image.height > MAX_PIXELS:
            raise _too_many_pixels(name, image)
        exif = image.getexif()
        return _Facts(
            kind=kind,
            width=image.width,
            height=image.height,
            # Further pictures in a JPEG belong to the camera, not to an animation.
            frames=1 if kind is JPEG else getattr(image, "n_frames", 1),
            turned=exif.get(ExifTags.Base.Orientation, 1) in range(2, 9),
            alpha=image.has_transparency_data,
            metadata=bool(exif) or "xmp" in image.info,
        )


def _too_many_pixels(name: str, image: Image.Image) -> MediaRefused:
    return MediaRefused(
        "bad_image",
        f"{name} has {image.width} by {image.height} pixels; a picture may have at most "
        f"{MAX_PIXELS // 10**6} million.",
        f"Scale it down, best to at most {MAX_SIDE} pixels on the longer side, and send it again.",
    )


def _goal(facts: _Facts) -> Kind | None:
    """Decide what to encode the picture as; None: its pixels stay as they are."""
    if facts.kind in _CONVERTED:
        return PNG if facts.alpha else JPEG
    if facts.frames > 1 or not (facts.turned or facts.oversized):
        return None
    return PNG if facts.kind is GIF else facts.kind


def _prepared(source: Path, name: str, facts: _Facts, workdir: Path) -> PreparedImage:
    goal = _goal(facts)
    if goal is None:
        _decode(source, facts.kind)
        try:
            return _stripped(source, name, facts, workdir)
        except MalformedError:
            if facts.frames > 1:
                raise
            # The pixels are sound, only the container is odd: a new one is made around them.
            goal = PNG if facts.kind is GIF else facts.kind
    copy = workdir / f"{uuid4().hex}{goal.suffix}"
    return _described(copy, name, facts, goal, _encode(source, facts, goal, copy))


def _stripped(source: Path, name: str, facts: _Facts, workdir: Path) -> PreparedImage:
    copy = workdir / f"{uuid4().hex}{facts.kind.suffix}"
    if strip_metadata(source, facts.kind, copy):
        return _described(copy, name, facts, facts.kind, (_CLEANED,))
    copy.unlink()
    return _described(source, name, facts, facts.kind, ())


def _described(
    path: Path, name: str, facts: _Facts, kind: Kind, changes: tuple[str, ...]
) -> PreparedImage:
    fitting = fitting_name(name, kind)
    if kind is facts.kind and Path(fitting).suffix != Path(name).suffix:
        changes = (*changes, f"named {fitting}, because it is a {kind.name} picture")
    with Image.open(path, formats=_DECODERS[kind]) as image:
        width, height = image.size
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


def _decode(source: Path, kind: Kind) -> None:
    """Read all of the (first) picture once, so that a damaged one is found here."""
    with Image.open(source, formats=_DECODERS[kind]) as image:
        # A JPEG read at an eighth of its size is read to its end all the same.
        image.draft(image.mode, (max(1, image.width // 8), max(1, image.height // 8)))
        image.load()


def _encode(source: Path, facts: _Facts, goal: Kind, target: Path) -> tuple[str, ...]:
    """Write the picture anew, upright, without metadata; tell what was changed."""
    changes = []
    if goal is not facts.kind:
        changes.append(f"converted from {facts.kind.name} to {goal.name}")
    with Image.open(source, formats=_DECODERS[facts.kind]) as opened:
        if facts.oversized:
            opened.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
        upright = ImageOps.exif_transpose(opened)
        image, profile = _eight_bits(upright)
    before = (facts.height, facts.width) if _lies(facts, image) else (facts.width, facts.height)
    image = _write(image, goal, profile, target)
    if facts.turned:
        changes.append("turned upright")
    if image.size != before:
        changes.append(
            f"scaled down from {before[0]} by {before[1]} to {image.width} by {image.height} pixels"
        )
    if facts.frames > 1:
        changes.append(f"the first of {facts.frames} pictures taken")
    if facts.metadata:
        changes.append(_CLEANED)
    return tuple(changes)


def _write(image: Image.Image, goal: Kind, profile: bytes | None, target: Path) -> Image.Image:
    """Encode under the size limit, scaling down as often as that takes."""
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
        if target.stat().st_size <= MAX_BYTES:
            return image
        smaller = (int(image.width * _SHRINK), int(image.height * _SHRINK))
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
    return image.convert("RGBA" if image.has_transparency_data else "RGB"), profile


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


def _lies(facts: _Facts, image: Image.Image) -> bool:
    """Whether turning the picture upright exchanged its sides."""
    return facts.turned and (facts.width > facts.height) != (image.width > image.height)


def _silence_pillow() -> None:
    """Pillow warns of odd files; what matters in them ends as an error, which is told."""
    warnings.filterwarnings("ignore", module=r"PIL\.")
    warnings.filterwarnings("ignore", module=r"pillow_heif\b")
