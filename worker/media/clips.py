"""What a finished clip is, read from the file itself, and whether it is what was asked for.

A clip comes from outside, so every look at it is bounded: one demuxer, no other files, no
gigantic frames, so many packets and so many decoded frames and no more. All of it blocks: call
it through `worker.resources.offload`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise, product
from pathlib import Path
from typing import Final, cast

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image, ImageChops, ImageStat

from worker.media.prepared_file import sha256_of

LENGTH_TOLERANCE: Final = 0.5
"""How far a clip's length may be from what was asked for, in seconds."""
ASPECT_TOLERANCE: Final = 0.02

_MOST_PACKETS: Final = 200_000
"""An hour at 50 frames a second; what lies behind it is not looked at."""
_MOST_FRAMES: Final = 90
"""The most frames that are decoded for one look at one place of a clip."""
_MOST_PIXELS: Final = 36 * 10**6
_POSTER_WIDTH: Final = 640
_POSTER_AT: Final = 0.1
_SAMPLED_AT: Final = (0.05, 0.35, 0.65, 0.95)
_THUMBNAIL: Final = (96, 54)
_BLOCK: Final = 6
"""Pixels of a thumbnail's side that are looked at together."""
_MOST_SUSPECT_FRAMES: Final = 3600
"""A minute at 60 frames a second: the most that is decoded of a clip in which nothing moved."""
_SUSPECT_SAMPLES: Final = 24
_BLACK_MEAN, _BLACK_PEAK = 10, 40
_CLEAR_MOTION: Final = 3.0
"""Grey levels that no still picture comes to by its compression alone, at any quality."""
_GROWTH: Final = 1.2
"""How much further the ends of a clip lie apart than neighbours, where something moves. What
compression does to a still picture does not add up: 1.0 to 1.1. The slowest zoom, by 1 % in ten
seconds on a flat picture, comes to 1.3 to 4. `python -m tests.bench.quality` prints them."""
_NOTHING: Final = 0.3
_END_SHARE: Final = 6
_LONG_SIDE, _SHORT_SIDE = 1920, 1080


@dataclass(frozen=True, slots=True)
class QualityFinding:
    """Something about a clip that somebody should look at.

    Attributes:
        code: ``codec``, ``length``, ``size``, ``black``, ``frozen`` or ``damaged``.
        message: The same in a sentence for people.
    """

    code: str
    message: str


class BadClip(Exception):  # noqa: N818 - named for what was found
    """The file is no clip that can be played."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip as its file says: pixels, seconds, the codec's name (such as ``h264``), bytes."""

    width: int
    height: int
    seconds: float
    codec: str
    bytes: int
    sha256: str


def probe(path: Path) -> Clip:
    """Read what a clip is. The length is that of the frames that are there, not of the header.

    Raises:
        BadClip: It is empty, does not open, has no picture, or none that can be decoded.
    """
    size = path.stat().st_size
    if size == 0:
        raise BadClip("the clip is empty (0 bytes)")
    with _opened(path) as (container, stream):
        seconds = float(_length(container, stream))
        if _frame_at(container, stream, Fraction(0)) is None:
            raise BadClip("no frame of the clip can be decoded")
        context = stream.codec_context
        # Not its own name: that is the decoder's, which for some codecs is a library.
        width, height, codec = context.width, context.height, context.codec.canonical_name
    return Clip(
        width=width,
        height=height,
        seconds=round(seconds, 3),
        codec=codec,
        bytes=size,
        sha256=sha256_of(path),
    )


def check(
    clip: Clip, *, seconds: float | None = None, aspect: str | None = None
) -> tuple[QualityFinding, ...]:
    """Compare a clip with what was asked for.

    Args:
        clip: What was read from the file.
        seconds: The length asked for; None: any.
        aspect: The sides asked for, such as ``16:9``; None: any.

    Returns:
        What is wrong; empty if nothing is.
    """
    findings = []
    if clip.codec != "h264":
        findings.append(QualityFinding("codec", f"The codec is {clip.codec}, not H.264."))
    if seconds is not None and abs(clip.seconds - seconds) > LENGTH_TOLERANCE:
        findings.append(
            QualityFinding("length", f"It lasts {clip.seconds:g} s, not {seconds:g} s.")
        )
    pixels = f"It has {clip.width} by {clip.height} pixels"
    sides = sorted((clip.width, clip.height))
    if sides[0] > _SHORT_SIDE or sides[1] > _LONG_SIDE:
        findings.append(QualityFinding("size", f"{pixels}, more than 1080p."))
    if aspect is not None:
        width, height = (int(side) for side in aspect.split(":"))
        if abs(clip.width * height / (clip.height * width) - 1) > ASPECT_TOLERANCE:
            findings.append(QualityFinding("size", f"{pixels}, not {aspect}."))
    return tuple(findings)


def make_poster(path: Path, to: Path) -> None:
    """Write a frame from a little into the clip as a JPEG, at most 640 pixels wide.

    Raises:
        BadClip: No frame can be decoded.
    """
    with _opened(path) as (container, stream):
        length = _length(container, stream)
        frame = _frame_at(container, stream, length * Fraction(_POSTER_AT))
        if frame is None:
            raise BadClip("no frame of the clip can be decoded")
        width = min(_POSTER_WIDTH, frame.width)
        height = max(1, round(frame.height * width / frame.width))
        image: Image.Image = frame.to_image(width=width, height=height)  # type: ignore[no-untyped-call] # no types there
    image.save(to, "JPEG", quality=85, optimize=True)


def inspect(path: Path) -> tuple[QualityFinding, ...]:
    """Look at a few frames from all over a clip; at many, where these show nothing or no motion.

    Returns:
        ``black`` and ``frozen``, each if it is so.

    Raises:
        BadClip: No frame can be decoded.
    """
    with _opened(path) as (container, stream):
        length = _length(container, stream)
        samples = _spread(container, stream, length)
        if not samples:
            raise BadClip("no frame of the clip can be decoded")
        if is_black(samples) or not moves_clearly(samples):
            samples = _throughout(container, stream, length)
    findings = []
    if is_black(samples):
        findings.append(QualityFinding("black", "Nothing can be seen in it: it is black."))
    if is_frozen(samples):
        findings.append(QualityFinding("frozen", "Nothing moves in it: it is one still picture."))
    return tuple(findings)


def is_black(samples: Sequence[Image.Image]) -> bool:
    """Whether nothing can be seen in any of these grey thumbnails; False if there are none."""
    return bool(samples) and all(
        ImageStat.Stat(sample).mean[0] < _BLACK_MEAN and _peak(sample) < _BLACK_PEAK
        for sample in samples
    )


def is_frozen(samples: Sequence[Image.Image]) -> bool:
    """Whether these grey thumbnails, in the order of time, are all the same; False if none.

    The differences of a slow camera add up from start to end, those of compression do not.
    """
    near = max((motion(before, after) for before, after in pairwise(samples)), default=0.0)
    ends = max(1, len(samples) // _END_SHARE)
    far = max((motion(a, b) for a, b in product(samples[:ends], samples[-ends:])), default=0.0)
    if not samples or max(near, far) >= _CLEAR_MOTION:
        return False
    return far < max(_NOTHING, near * _GROWTH)


def moves_clearly(samples: Sequence[Image.Image]) -> bool:
    """Whether one look at any two neighbours is enough to see that something moves."""
    return any(motion(before, after) >= _CLEAR_MOTION for before, after in pairwise(samples))


def motion(before: Image.Image, after: Image.Image) -> float:
    """How far two grey thumbnails differ where they differ most, in grey levels.

    Blocks, not the whole: a slow camera moves only the edges of a small thing before a wall.
    """
    return _peak(ImageChops.difference(before, after).convert("F").reduce(_BLOCK))


def _peak(grey: Image.Image) -> float:
    """The brightest level of an image of one band."""
    return max(map(float, cast("tuple[float, float]", grey.getextrema())))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a clip for one look; whatever goes wrong with its content is a bad clip."""
    # A file that is not there or not ours to read is no bad clip.
    with path.open("rb"):
        pass
    try:
        # Named, so that a clip cannot be a list of other files, nor reach for any.
        with av.open(
            str(path.absolute()), format="mp4", options={"protocol_whitelist": "file"}
        ) as container:
            yield container, _picture(container)
    except BadClip:
        raise
    except Exception as error:
        # FFmpeg's errors are of many kinds, some of them also OSErrors of a misleading type.
        told = getattr(error, "strerror", None) or error
        raise BadClip(f"the clip cannot be read: {told}") from error


def _picture(container: InputContainer) -> VideoStream:
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        raise BadClip("the clip has no picture, only sound or data")
    context = stream.codec_context
    if not 0 < context.width * context.height <= _MOST_PIXELS:
        raise BadClip(f"the clip has frames of {context.width} by {context.height} pixels")
    return stream


def _length(container: InputContainer, stream: VideoStream) -> Fraction:
    """The seconds from the first frame to the end of the last, counted packet by packet."""
    first: int | None = None
    last = 0
    for packet in islice(container.demux(stream), _MOST_PACKETS):
        if packet.pts is None or not packet.size:
            continue
        first = packet.pts if first is None else min(first, packet.pts)
        last = max(last, packet.pts + (packet.duration or 0))
    if first is None:
        raise BadClip("the clip has no frames")
    return (last - first) * _tick(stream)


def _tick(stream: VideoStream) -> Fraction:
    """The unit of the stream's times, in seconds."""
    if not stream.time_base:
        raise BadClip("the clip does not tell the unit of its times")
    return stream.time_base


def _frame_at(
    container: InputContainer, stream: VideoStream, seconds: Fraction
) -> VideoFrame | None:
    """The frame at a time, or as near before it as the bound on decoding allows."""
    wanted = (stream.start_time or 0) + int(seconds / _tick(stream))
    container.seek(wanted, stream=stream, backward=True)
    found = None
    for frame in islice(container.decode(stream), _MOST_FRAMES):
        if not 0 < frame.width * frame.height <= _MOST_PIXELS:
            raise BadClip("the size of the clip's frames changes")
        found = frame
        if frame.pts is not None and frame.pts >= wanted:
            break
    return found


def _spread(container: InputContainer, stream: VideoStream, length: Fraction) -> list[Image.Image]:
    """Thumbnails from a few places, as near to them as the bound on decoding allows."""
    seen: dict[float | None, Image.Image] = {}
    for part in _SAMPLED_AT:
        frame = _frame_at(container, stream, length * Fraction(part))
        if frame is not None:
            seen[frame.time] = _thumbnail(frame)
    return list(seen.values())


def _throughout(
    container: InputContainer, stream: VideoStream, length: Fraction
) -> list[Image.Image]:
    """Thumbnails at even distances from start to end; none if the end is too far to be seen."""
    container.seek(stream.start_time or 0, stream=stream, backward=True)
    step = float(length) / _SUSPECT_SAMPLES
    samples: list[Image.Image] = []
    first = None
    for frame in islice(container.decode(stream), _MOST_SUSPECT_FRAMES):
        first = frame.time if first is None else first
        if frame.time - first >= len(samples) * step:
            samples.append(_thumbnail(frame))
    return samples if len(samples) >= _SUSPECT_SAMPLES - 2 or len(samples) * step >= length else []


def _thumbnail(frame: VideoFrame) -> Image.Image:
    """A small grey copy of a frame; black is 0 and white 255."""
    width, height = _THUMBNAIL
    small = frame.reformat(width=width, height=height, format="gray", dst_color_range="JPEG")
    plane = small.planes[0]
    return Image.frombuffer(
        "L", (width, height), bytes(memoryview(plane)), "raw", "L", plane.line_size, 1
    )
