"""Clips that are encoded for tests and measurements."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
from av.video.stream import VideoStream
from PIL import Image

RATE = 25


@contextmanager
def open_encoder(
    path: Path, size: tuple[int, int], **options: str
) -> Iterator[Callable[[Image.Image | av.VideoFrame], None]]:
    """Write a clip of 25 frames a second; yields a function that adds an RGB image or a frame.

    Args:
        path: The MP4 file.
        size: Width and height.
        options: Of the encoder, and ``codec``, ``pixels`` (the pixel format), ``movflags`` and
            ``aspect`` (of a pixel, such as ``4:3``).
    """
    codec, pixels = options.pop("codec", "libx264"), options.pop("pixels", "yuv420p")
    aspect = options.pop("aspect", "")
    muxer = {"movflags": options.pop("movflags", "+faststart")}
    width, height = size
    with av.open(str(path), "w", format="mp4", options=muxer) as container:
        stream = container.add_stream(codec, rate=RATE, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        if aspect:
            stream.codec_context.sample_aspect_ratio = Fraction(aspect.replace(":", "/"))

        def write(image: Image.Image | av.VideoFrame) -> None:
            frame = image if isinstance(image, av.VideoFrame) else to_frame(image)
            container.mux(stream.encode(frame))

        yield write
        container.mux(stream.encode(None))


def to_frame(image: Image.Image, pixels: str = "rgb24") -> av.VideoFrame:
    """Make a frame of an RGB image, in a pixel format."""
    frame = av.VideoFrame(image.width, image.height, "rgb24")
    raw, plane = image.tobytes(), frame.planes[0]
    step, line = image.width * 3, plane.line_size
    plane.update(
        b"".join(raw[at : at + step].ljust(line, b"\0") for at in range(0, len(raw), step))
    )
    return frame.reformat(format=pixels, threads=1)
