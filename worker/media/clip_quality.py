"""The quality of a finished clip: whether it is what was requested, and neither black nor frozen.

All of it blocks: call it through `worker.resources.offload`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, product
from pathlib import Path
from typing import Final, cast

from av.video.frame import VideoFrame
from PIL import Image, ImageChops, ImageStat

from worker.media.clip_frames import BadClip, ClipReader, open_clip
from worker.media.clips import Clip

LENGTH_TOLERANCE: Final = 0.5
"""How far a clip's length may be from the requested one, in seconds."""
ASPECT_TOLERANCE: Final = 0.02

_COMMON_PIXEL_FORMATS: Final = frozenset({"yuv420p", "yuvj420p"})
"""Eight bits a sample and half the color resolution: what every H.264 decoder can show."""
_LONG_SIDE, _SHORT_SIDE = 1920, 1080
_SAMPLED_AT: Final = tuple(Fraction(percent, 100) for percent in (5, 35, 65, 95))
_THUMBNAIL: Final = (96, 54)
_BLOCK: Final = 6
"""The side of the blocks that thumbnails are compared by, in pixels."""
_MAX_FRAMES: Final = 3600
"""The most frames that are decoded of a clip without motion: a minute at 60 frames a second."""
_SAMPLES: Final = 24
"""Thumbnails that are taken of a clip without motion."""
_BLACK_MEAN, _BLACK_PEAK = 10, 40
_CLEAR_MOTION: Final = 3.0
"""A difference in gray levels that compression alone never causes in a still image."""
_GROWTH: Final = 1.2
"""How much more the ends of a moving clip differ than neighboring samples do. The differences of
compression do not add up (1.0 to 1.1). Those of the slowest zoom, by 1 % in ten seconds on a flat
image, do (1.3 to 4). `python -m tests.bench.quality` prints them."""
_NO_MOTION: Final = 0.3
_END_SHARE: Final = 6
"""One in this many samples counts as the start of the clip, and as many as its end."""


@dataclass(frozen=True, slots=True)
class QualityFinding:
    """Something about a clip that a person should check.

    Attributes:
        code: ``codec``, ``length``, ``size``, ``black``, ``frozen`` or ``damaged``.
        message: A sentence for people.
    """

    code: str
    message: str


def check(
    clip: Clip, *, seconds: float | None = None, aspect: str | None = None
) -> tuple[QualityFinding, ...]:
    """Compare a clip with what was requested.

    Args:
        clip: The properties of the clip.
        seconds: The requested length; None: any.
        aspect: The requested aspect ratio, such as ``16:9``; None: any.

    Returns:
        What differs; empty if nothing does.
    """
    findings = []
    if clip.codec == "hevc" and clip.codec_tag == "hev1":
        message = "The codec is hevc with the tag hev1, not H.264: many players cannot show it."
        findings.append(QualityFinding("codec", message))
    elif clip.codec != "h264":
        findings.append(QualityFinding("codec", f"The codec is {clip.codec}, not H.264."))
    elif clip.pixel_format not in _COMMON_PIXEL_FORMATS:
        findings.append(
            QualityFinding(
                "codec",
                f"The pixel format is {clip.pixel_format}, not yuv420p: many players cannot "
                "show it.",
            )
        )
    if seconds is not None and abs(clip.seconds - seconds) > LENGTH_TOLERANCE:
        message = f"The clip lasts {clip.seconds:g} s, not {seconds:g} s."
        findings.append(QualityFinding("length", message))
    size = f"The clip has {clip.width} by {clip.height} pixels"
    sides = sorted((clip.width, clip.height))
    if sides[0] > _SHORT_SIDE or sides[1] > _LONG_SIDE:
        findings.append(QualityFinding("size", f"{size}, more than 1080p."))
    if aspect is not None:
        width, height = (int(side) for side in aspect.split(":"))
        if abs(clip.width * height / (clip.height * width) - 1) > ASPECT_TOLERANCE:
            findings.append(QualityFinding("size", f"{size}, not {aspect}."))
    return tuple(findings)


def inspect(path: Path) -> tuple[QualityFinding, ...]:
    """Check whether a clip is black or frozen.

    A few samples are enough for most clips. Many are taken only if these show no clear motion.

    Returns:
        ``black`` and ``frozen``, as far as they apply.

    Raises:
        BadClip: No frame can be decoded.
    """
    with open_clip(path) as clip:
        length = clip.length()
        samples = _sparse_samples(clip, length)
        if not samples:
            raise BadClip("no frame of the clip can be decoded")
        if is_black(samples) or not has_clear_motion(samples):
            samples = dense_samples(clip, length)
    findings = []
    if is_black(samples):
        findings.append(QualityFinding("black", "The clip is black."))
    if is_frozen(samples):
        findings.append(QualityFinding("frozen", "Nothing moves in the clip."))
    return tuple(findings)


def is_black(samples: Sequence[Image.Image]) -> bool:
    """Return whether all of these gray thumbnails are black; False if there are none."""
    return bool(samples) and all(
        ImageStat.Stat(sample).mean[0] < _BLACK_MEAN and _peak(sample) < _BLACK_PEAK
        for sample in samples
    )


def is_frozen(samples: Sequence[Image.Image]) -> bool:
    """Return whether these gray thumbnails, in order, show no motion; False if there are none.

    The differences of a slow camera move add up from start to end, those of compression do not.
    """
    near = max((motion(before, after) for before, after in pairwise(samples)), default=0.0)
    ends = max(1, len(samples) // _END_SHARE)
    far = max((motion(a, b) for a, b in product(samples[:ends], samples[-ends:])), default=0.0)
    if not samples or max(near, far) >= _CLEAR_MOTION:
        return False
    return far < max(_NO_MOTION, near * _GROWTH)


def has_clear_motion(samples: Sequence[Image.Image]) -> bool:
    """Return whether any two neighboring thumbnails differ clearly."""
    return any(motion(before, after) >= _CLEAR_MOTION for before, after in pairwise(samples))


def motion(before: Image.Image, after: Image.Image) -> float:
    """Return how much two gray thumbnails differ, in gray levels of the most different block.

    By blocks, because a slow camera move changes only the edges of a small object.
    """
    return _peak(ImageChops.difference(before, after).convert("F").reduce(_BLOCK))


def dense_samples(clip: ClipReader, length: Fraction) -> list[Image.Image]:
    """Take thumbnails at even distances; none if the end is beyond the limit on decoding."""
    step = float(length) / _SAMPLES
    samples: list[Image.Image] = []
    first = None
    for frame in clip.frames_from(None, _MAX_FRAMES):
        first = frame.time if first is None else first
        if frame.time - first >= len(samples) * step:
            samples.append(_thumbnail(frame))
    return samples if len(samples) >= _SAMPLES - 2 or len(samples) * step >= length else []


def _sparse_samples(clip: ClipReader, length: Fraction) -> list[Image.Image]:
    """Take thumbnails at a few positions, or as near to them as the limit on decoding allows."""
    samples: dict[float | None, Image.Image] = {}
    for share in _SAMPLED_AT:
        frame = clip.frame_at(length * share)
        if frame is not None:
            samples[frame.time] = _thumbnail(frame)
    return list(samples.values())


def _peak(gray: Image.Image) -> float:
    """Return the brightest level of an image of one band."""
    return max(map(float, cast("tuple[float, float]", gray.getextrema())))


def _thumbnail(frame: VideoFrame) -> Image.Image:
    """Make a small gray copy of a frame; black is 0 and white 255."""
    width, height = _THUMBNAIL
    small = frame.reformat(width=width, height=height, format="gray", dst_color_range="JPEG")
    plane = small.planes[0]
    return Image.frombuffer(
        "L", (width, height), bytes(memoryview(plane)), "raw", "L", plane.line_size, 1
    )
