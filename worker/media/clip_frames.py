"""Bounded reading of clips: one demuxer, no other files, limited packets, frames and pixels.

A clip comes from another service, so its content is not trusted. All functions block: call them
through `worker.resources.offload`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from worker.resources.shortages import Shortage, shortage_of

_MAX_PACKETS: Final = 200_000
"""An hour at 50 frames a second; later packets are not read."""
_MAX_PIXELS: Final = 36 * 10**6
"""The most pixels of a frame that is decoded: a little more than 8K."""


class BadClip(Exception):  # noqa: N818 - named for what was found
    """The file is not a clip that can be played."""


class IncompleteClip(BadClip):
    """The file ends before samples that its own index lists, as after a truncated download."""


class ShownPacket(NamedTuple):
    """A packet whose frame a player shows: its time, its bytes, whether it is decodable alone."""

    pts: int
    size: int
    is_key: bool


class ClipReader:
    """Reads the packets and frames of an open clip.

    Attributes:
        packets: The packets whose frames are shown, in the order of the file. Frames that an edit
            list leaves out are not shown.
        seconds: The time from the start of the first frame to the end of the last.
        time_base: The seconds of one unit of a packet's ``pts``.
        decoded: How many frames were decoded.
    """

    packets: Sequence[ShownPacket]
    seconds: Fraction

    def __init__(self, container: InputContainer, size: int) -> None:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream):
            raise BadClip("the clip has no video stream")
        if not stream.time_base:
            raise BadClip("the clip has no time base")
        self.time_base = stream.time_base
        self.decoded = 0
        self._container = container
        self._stream = stream
        self._read_packets(size)
        if stream.codec_context is None:
            raise BadClip("the clip has a video stream that cannot be decoded")
        self.codec = stream.codec_context
        if not 0 < self.codec.width * self.codec.height <= _MAX_PIXELS:
            raise BadClip(
                f"the clip has frames of {self.codec.width} by {self.codec.height} pixels"
            )
        self.codec.thread_count = 1

    @property
    def pixel_aspect(self) -> Fraction | None:
        """Width by height of a pixel; None: square."""
        return self._stream.sample_aspect_ratio

    def key_frame(self, pts: int) -> VideoFrame | None:
        """Decode only the key frame at this time; None if that fails.

        Raises:
            BadClip: The size of the frames changes.
        """
        self._container.seek(pts, stream=self._stream, backward=True)
        for packet in islice(self._container.demux(self._stream), _MAX_PACKETS):
            if packet.is_keyframe:
                frames = [*self.codec.decode(packet), *self.codec.decode(None)]
                self.codec.flush_buffers()
                frame = self._checked(frames[0]) if frames else None
                # Some muxers mark all samples as key frames, or none, which means the same.
                return frame if frame is not None and frame.key_frame else None
        return None

    def frames_from(self, pts: int, count: int) -> Iterator[VideoFrame]:
        """Decode at most n reference frames, beginning at the key frame at this time.

        Raises:
            BadClip: The size of the frames changes.
        """
        self._container.seek(pts, stream=self._stream, backward=True)
        self.codec.skip_frame = "NONREF"
        try:
            yield from map(self._checked, islice(self._container.decode(self._stream), count))
        finally:
            self.codec.skip_frame = "DEFAULT"

    def _read_packets(self, size: int) -> None:
        packets = []
        first: int | None = None
        last = 0
        for packet in islice(self._container.demux(self._stream), _MAX_PACKETS):
            pts = packet.pts
            if pts is None or not packet.size or packet.is_discard:
                continue
            first = pts if first is None or pts < first else first
            last = max(last, pts + (packet.duration or 0))
            packets.append(ShownPacket(pts, packet.size, packet.is_keyframe))
        # The index of a fragmented MP4 is complete only after its packets were read.
        indexed_end = max(
            (
                entry.pos + entry.size
                for stream in self._container.streams
                for entry in stream.index_entries
            ),
            default=0,
        )
        if indexed_end > size:
            raise IncompleteClip(
                f"the clip ends after {size} bytes, but its index lists {indexed_end} bytes"
            )
        if first is None:
            raise BadClip("the clip has no frames")
        self.packets = packets
        self.seconds = (last - first) * self.time_base

    def _checked(self, frame: VideoFrame) -> VideoFrame:
        self.decoded += 1
        if not 0 < frame.width * frame.height <= _MAX_PIXELS:
            raise BadClip("the size of the clip's frames changes")
        return frame


@contextmanager
def open_clip(path: Path) -> Iterator[ClipReader]:
    """Open a clip and read its packets. Errors in its content are raised as `BadClip`.

    Raises:
        IncompleteClip: Its own index lists samples beyond its end.
        BadClip: The clip cannot be read.
        OSError: The file does not exist or may not be read, or the machine has too many open files
            or too little space.
    """
    with path.open("rb"):
        pass
    # Without "skip_frame", opening decodes a frame to find properties that are not used here.
    options = {"protocol_whitelist": "file", "skip_frame": "all"}
    try:
        # The demuxer is not left to FFmpeg, which could read a clip as a list of other files.
        with av.open(str(path.absolute()), format="mp4", options=options) as container:
            yield ClipReader(container, path.stat().st_size)
    except BadClip:
        raise
    except Exception as error:
        # A shortage of memory is not raised: FFmpeg also reports it for damaged content.
        if shortage_of(error) in {Shortage.OPEN_FILES, Shortage.SCRATCH_DISK}:
            raise
        # FFmpeg raises many kinds of errors, some of them OSErrors of a misleading type.
        cause = getattr(error, "strerror", None) or error
        raise BadClip(f"the clip cannot be read: {cause}") from error
