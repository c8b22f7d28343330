"""Rendering of a clip: an H.264 MP4 file of one picture with a moving camera."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import av
from av.video.stream import VideoStream
from PIL import Image

from sandbox.video.caption import Caption, can_draw, make_caption, opacity_at
from sandbox.video.motion import TRAVEL, Aspect, Motion, Window, window_at
from sandbox.video.picture import blank_picture, fit, natural_aspect, open_picture

FRAMES_PER_SECOND = 30
TITLE_SECONDS = 3.0
# The picture is prepared for the middle of a zoom, so that all frames are resampled by little.
_OVERSIZE = TRAVEL**0.5
_SHAPES = {Aspect.LANDSCAPE: (16, 9), Aspect.PORTRAIT: (9, 16), Aspect.SQUARE: (1, 1)}
# Filters for the planes of a 4:2:0 frame: luma in full size, two chroma planes in half size.
_LUMA_FILTER = Image.Resampling.BICUBIC
_CHROMA_FILTER = Image.Resampling.BILINEAR


class RenderStoppedError(Exception):
    """The rendering was stopped because the process is ending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSpec:
    """Everything that decides the bytes of a clip.

    Attributes:
        picture: The uploaded file; None makes a plain gradient.
        picture_sha256: The file's SHA-256; a copy under another path makes the same clip.
        seconds: Duration of the clip.
        aspect: Aspect ratio of the frame; None chooses it by the picture.
        motion: The camera movement.
        title: Text of the title; None shows no title.
        short_side: Pixels on the frame's short side (1080 makes 1920x1080, 1080x1920, 1080x1080).
    """

    picture: Path | None
    picture_sha256: str
    seconds: float
    aspect: Aspect | None
    motion: Motion
    title: str | None
    short_side: int

    @property
    def key(self) -> str:
        """A name for the clip: equal specifications have equal keys."""
        look = (self.aspect, self.motion, self.title, self.short_side)
        fields = (self.picture_sha256, self.seconds, *look)
        return hashlib.sha256(repr(fields).encode()).hexdigest()[:32]


def frame_size(aspect: Aspect, short_side: int) -> tuple[int, int]:
    """Return width and height of a frame in pixels, both even as 4:2:0 requires."""
    across, down = _SHAPES[aspect]
    unit = short_side / min(across, down)
    return _even(across * unit), _even(down * unit)


def render_clip(spec: ClipSpec, target: Path, stop: Event) -> None:
    """Render a clip. Blocks: call it in a thread.

    Args:
        spec: What the clip shows.
        target: The path of the MP4 file. The finished file is renamed to it.
        stop: Stops the rendering at the next frame when set.

    Raises:
        RenderStoppedError: `stop` was set.
        OSError: The picture cannot be decoded, or the disk is full.
    """
    unfinished = target.with_name(f"{target.name}.part")
    try:
        _encode(spec, unfinished, stop)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _encode(spec: ClipSpec, target: Path, stop: Event) -> None:
    picture, width, height = _prepare(spec)
    source = _to_planes(picture)
    count = round(spec.seconds * FRAMES_PER_SECOND)
    caption = (
        make_caption(spec.title, width, height) if spec.title and can_draw(spec.title) else None
    )
    with av.open(target, "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = _add_stream(container, width, height)
        for number, frame in enumerate(
            _frames(source, spec.motion, count, (width, height), caption)
        ):
            if stop.is_set():
                raise RenderStoppedError
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _prepare(spec: ClipSpec) -> tuple[Image.Image, int, int]:
    if spec.picture is None:
        width, height = frame_size(spec.aspect or Aspect.LANDSCAPE, spec.short_side)
        picture = blank_picture(width, height)
    else:
        picture = open_picture(spec.picture, spec.short_side * 2)
        aspect = spec.aspect or natural_aspect(picture.width, picture.height)
        width, height = frame_size(aspect, spec.short_side)
    fitted = fit(picture, _even(width * _OVERSIZE), _even(height * _OVERSIZE))
    return fitted, width, height


def _add_stream(container: av.container.OutputContainer, width: int, height: int) -> VideoStream:
    stream = container.add_stream(
        "libx264", rate=FRAMES_PER_SECOND, options={"preset": "superfast", "crf": "21"}
    )
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    context = stream.codec_context
    context.thread_count = 1
    context.colorspace = av.video.reformatter.Colorspace.ITU709
    context.color_range = av.video.reformatter.ColorRange.MPEG
    return stream


def _to_planes(picture: Image.Image) -> tuple[Image.Image, ...]:
    """Convert the picture to video planes once, so that a frame only has to be resampled."""
    whole = av.VideoFrame.from_image(picture).reformat(  # type: ignore[no-untyped-call]
        format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"
    )
    return tuple(
        Image.frombytes("L", (plane.width, plane.height), bytes(plane), "raw", "L", plane.line_size)
        for plane in whole.planes
    )


def _frames(
    source: tuple[Image.Image, ...],
    motion: Motion,
    count: int,
    size: tuple[int, int],
    caption: Caption | None,
) -> Iterator[av.VideoFrame]:
    # All frames share a buffer: the encoder copies what it keeps, and new pages cost more time.
    frame = av.VideoFrame(*size, "yuv420p")
    shown = min(TITLE_SECONDS, count / FRAMES_PER_SECOND)
    for number in range(count):
        window = window_at(motion, number / max(1, count - 1))
        planes = _resample(source, window, size)
        opacity = opacity_at(number / FRAMES_PER_SECOND, shown)
        if caption is not None and opacity > 0:
            caption.draw_on(planes, opacity)
        for plane, content in zip(frame.planes, planes, strict=True):
            plane.update(content.tobytes("raw", "L", plane.line_size, 1))
        yield frame


def _resample(
    source: tuple[Image.Image, ...], window: Window, size: tuple[int, int]
) -> tuple[Image.Image, ...]:
    width, height = size
    sizes = (size, (width // 2, height // 2), (width // 2, height // 2))
    filters = (_LUMA_FILTER, _CHROMA_FILTER, _CHROMA_FILTER)
    return tuple(
        plane.resize(
            plane_size,
            resampling,
            box=(
                window.left * plane.width,
                window.top * plane.height,
                min(plane.width, (window.left + window.width) * plane.width),
                min(plane.height, (window.top + window.height) * plane.height),
            ),
        )
        for plane, plane_size, resampling in zip(source, sizes, filters, strict=True)
    )


def _even(length: float) -> int:
    return max(2, round(length / 2) * 2)
