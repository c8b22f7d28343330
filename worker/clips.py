"""What a finished clip is, read from the file itself, and whether it is what was asked for.

A clip comes from outside, so every look at it is bounded: one demuxer, no other files, no
gigantic frames, so many packets and so many decoded frames and no more. All of it blocks: call
it through `worker.offload`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Final

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from worker.media.prepared import sha256_of

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
_BLACK_MEAN, _BLACK_PEAK = 10, 40
_FROZEN_MEAN: Final = 0.3


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
        width, height, codec = context.width, context.height, context.name
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
) -> tuple[str, ...]:
    """Compare a clip with what was asked for.

    Args:
        clip: What was read from the file.
        seconds: The length asked for; None: any.
        aspect: The sides asked for, such as ``16:9``; None: any.

    Returns:
        What is wrong, in sentences for people; empty if nothing is.
    """
    findings = []
    if clip.codec != "h264":
        findings.append(f"the codec is {clip.codec}, not H.264")
    if seconds is not None and abs(clip.seconds - seconds) > LENGTH_TOLERANCE:
        findings.append(f"it lasts {clip.seconds:g} s, not {seconds:g} s")
    if aspect is not None:
        width, height = (int(side) for side in aspect.split(":"))
        if abs(clip.width * height / (clip.height * width) - 1) > ASPECT_TOLERANCE:
            findings.append(f"it has {clip.width} by {clip.height} pixels, not {aspect}")
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


def inspect(path: Path) -> tuple[str, ...]:
    """Look at a few frames from all over a clip.

    Returns:
        ``black`` and ``frozen``, each if it is so.

    Raises:
        BadClip: No frame can be decoded.
    """
    seen: dict[float, bytes] = {}
    with _opened(path) as (container, stream):
        length = _length(container, stream)
        for part in _SAMPLED_AT:
            frame = _frame_at(container, stream, length * Fraction(part))
            if frame is not None:
                seen[frame.time] = _thumbnail(frame)
    if not seen:
        raise BadClip("no frame of the clip can be decoded")
    samples = list(seen.values())
    findings = (("black", is_black(samples)), ("frozen", is_frozen(samples)))
    return tuple(name for name, found in findings if found)


def is_black(samples: Sequence[bytes]) -> bool:
    """Whether nothing can be seen in any of these grey thumbnails."""
    return all(
        sum(sample) < _BLACK_MEAN * len(sample) and max(sample) < _BLACK_PEAK for sample in samples
    )


def is_frozen(samples: Sequence[bytes]) -> bool:
    """Whether these grey thumbnails, in the order of time, are all the same."""
    return all(
        sum(abs(a - b) for a, b in zip(before, after, strict=True)) < _FROZEN_MEAN * len(before)
        for before, after in pairwise(samples)
    )


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


def _thumbnail(frame: VideoFrame) -> bytes:
    """A small grey copy of a frame, one byte a pixel, black 0 and white 255."""
    width, height = _THUMBNAIL
    small = frame.reformat(width=width, height=height, format="gray", dst_color_range="JPEG")
    plane = small.planes[0]
    rows = memoryview(plane)
    return b"".join(
        bytes(rows[row * plane.line_size : row * plane.line_size + width]) for row in range(height)
    )
