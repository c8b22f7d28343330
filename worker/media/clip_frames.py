"""Bounded reading of clips: one demuxer, no other files, limited packets, frames and pixels.

A clip comes from another service, so nothing in it may make reading it endless. All of it blocks:
call it through `worker.resources.offload`.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Final, cast

import av
from av.container import InputContainer
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from worker.resources.shortages import Shortage, shortage_of

_MAX_PACKETS: Final = 200_000
"""An hour at 50 frames a second; later packets are not read."""
_MAX_FRAMES: Final = 90
"""The most frames that are decoded to reach one position of a clip."""
_MAX_PIXELS: Final = 36 * 10**6
_MAX_PIXEL_ASPECT: Final = 8
"""Pixels more oblong than this are taken as square: no camera makes them."""
_MATRIX: Final = struct.Struct("=9i")
"""A display matrix, in the order of ISO/IEC 14496-12 section 6.2.2: a, b, u, c, d, v, x, y, w."""
_TRANSPOSITIONS: Final = {
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
}
"""What the signs of a, b, c and d do to a frame."""
ON_THE_SIDE: Final = frozenset(
    {
        Image.Transpose.ROTATE_90,
        Image.Transpose.ROTATE_270,
        Image.Transpose.TRANSPOSE,
        Image.Transpose.TRANSVERSE,
    }
)


class BadClip(Exception):  # noqa: N818 - named for what was found
    """The file is not a clip that can be played."""


class IncompleteClip(BadClip):
    """The file ends before samples that its own index lists, as after a cut download."""


class ClipReader:
    """Reads the frames of an open clip."""

    def __init__(self, container: InputContainer) -> None:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream):
            raise BadClip("the clip has no video stream")
        if not stream.time_base:
            raise BadClip("the clip has no time base")
        self.codec = stream.codec_context
        if not 0 < self.codec.width * self.codec.height <= _MAX_PIXELS:
            raise BadClip(
                f"the clip has frames of {self.codec.width} by {self.codec.height} pixels"
            )
        self._container = container
        self._stream = stream
        self._time_base = stream.time_base

    def length(self) -> Fraction:
        """Return the seconds from the first frame to the end of the last, counted by packets.

        Frames that an edit list leaves out do not count: a player does not show them.

        Raises:
            BadClip: The clip has no frames.
        """
        first: int | None = None
        last = 0
        for packet in islice(self._container.demux(self._stream), _MAX_PACKETS):
            if packet.pts is None or not packet.size or packet.is_discard:
                continue
            first = packet.pts if first is None else min(first, packet.pts)
            last = max(last, packet.pts + (packet.duration or 0))
        if first is None:
            raise BadClip("the clip has no frames")
        return (last - first) * self._time_base

    def require_complete(self, size: int) -> None:
        """Compare the index with the size of the file in bytes. Call it after `length`.

        The index of a clip in fragments is known only after its packets were read.

        Raises:
            IncompleteClip: The index lists samples beyond the end of the file.
        """
        promised = max(
            (
                entry.pos + entry.size
                for stream in self._container.streams
                for entry in stream.index_entries
            ),
            default=0,
        )
        if promised > size:
            raise IncompleteClip(
                f"the clip ends after {size} bytes, but its index lists {promised} bytes"
            )

    def display_size(self, frame: VideoFrame) -> tuple[int, int]:
        """Return width and height as a player shows them, with square pixels and turned upright.

        Args:
            frame: Any frame of the clip.
        """
        width, height = frame.width, frame.height
        pixel = self._stream.sample_aspect_ratio or Fraction(1)
        if 1 < pixel <= _MAX_PIXEL_ASPECT:
            width = round(width * pixel)
        elif 1 / _MAX_PIXEL_ASPECT <= pixel < 1:
            height = round(height / pixel)
        return (height, width) if transposition(frame) in ON_THE_SIDE else (width, height)

    def frame_at(self, seconds: Fraction) -> VideoFrame | None:
        """Return the frame at a time, or the last one before it that decoding may reach.

        Raises:
            BadClip: The size of the frames changes.
        """
        position = (self._stream.start_time or 0) + int(seconds / self._time_base)
        found = None
        for frame in self.frames_from(position, _MAX_FRAMES):
            if not 0 < frame.width * frame.height <= _MAX_PIXELS:
                raise BadClip("the size of the clip's frames changes")
            found = frame
            if frame.pts is not None and frame.pts >= position:
                break
        return found

    def frames_from(self, position: int | None, count: int) -> Iterator[VideoFrame]:
        """Decode at most n frames from the key frame before a position; None: the start."""
        start = (self._stream.start_time or 0) if position is None else position
        self._container.seek(start, stream=self._stream, backward=True)
        return islice(self._container.decode(self._stream), count)


def transposition(frame: VideoFrame) -> Image.Transpose | None:
    """Return how a player turns or mirrors a frame before it shows it; None: not at all."""
    found = cast("SideDataContainer", frame.side_data)
    if SideDataType.DISPLAYMATRIX not in found:
        return None
    data = found[SideDataType.DISPLAYMATRIX]
    if data.buffer_size < _MATRIX.size:
        return None
    a, b, _, c, d, *_ = _MATRIX.unpack_from(bytes(data))
    a, b, c, d = ((value > 0) - (value < 0) for value in (a, b, c, d))
    return _TRANSPOSITIONS.get((a, b, c, d))


@contextmanager
def open_clip(path: Path) -> Iterator[ClipReader]:
    """Open a clip. Any error of its content is raised as `BadClip`.

    Raises:
        BadClip: The clip cannot be read.
        OSError: The file does not exist or may not be read, or files or space are short.
    """
    with path.open("rb"):
        pass
    try:
        # The demuxer is named, so that a clip cannot be a list of other files.
        with av.open(
            str(path.absolute()), format="mp4", options={"protocol_whitelist": "file"}
        ) as container:
            yield ClipReader(container)
    except BadClip:
        raise
    except Exception as error:
        # FFmpeg reports damaged content as missing memory too, which is a bad clip.
        if shortage_of(error) in {Shortage.OPEN_FILES, Shortage.SCRATCH_DISK}:
            raise
        # FFmpeg raises many kinds of errors, some of them OSErrors of a misleading type.
        cause = getattr(error, "strerror", None) or error
        raise BadClip(f"the clip cannot be read: {cause}") from error
