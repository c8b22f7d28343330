"""The inspection of a finished clip: its properties, whether it is black or frozen, and its poster.

Most of the cost of an inspection is decoding. So a clip is opened once, its packets are read once,
and as few frames as possible are decoded: two key frames that clearly differ show motion, and
packets that hold no change show that there is none. More frames are decoded only if neither is
clear.

All functions block: call them through `worker.resources.offload`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from av.error import FFmpegError
from av.video.frame import VideoFrame
from PIL import Image

from worker.media.clip_display import display_size, to_image
from worker.media.clip_frames import BadClip, ClipReader, ShownPacket, open_clip
from worker.media.clip_motion import (
    DIM,
    REFINING_FRAMES,
    are_alike,
    brightest,
    has_clear_motion,
    is_black,
    is_frozen,
    is_idle,
    thumbnail,
)
from worker.media.prepared_file import sha256_of

_POSTER_WIDTH: Final = 640
_POSTER_AT: Final = 10
"""The poster is the key frame nearest to the end of the first tenth of the clip."""
_FEW_KEY_FRAMES: Final = 3
"""If an idle clip has more key frames than this, the first is not compared with the others."""
_MANY_KEY_FRAMES: Final = 24
"""From this many key frames on, key frames are compared instead of all frames."""
_SAMPLES: Final = 24
"""The number of thumbnails that are made of a clip without clear motion."""
_FIRST_FRAMES: Final = frozenset({1, 2, 4, 6, 8})
"""Numbers of frames that are sampled in addition: most clips move clearly within them."""
_MAX_FRAMES: Final = 3600
"""The most frames that are decoded of a clip without motion: a minute at 60 frames a second."""
_CHEAP_PACKETS: Final = 6
"""The number of packets after the first one whose bytes are compared with those of a key frame."""
_CHEAP_FRAMES: Final = 4
"""The number of frames that are decoded from the start on, if that is cheap."""
_MAX_DIM_FRAMES: Final = 90
"""The most frames that are decoded to find one for the poster that is not dim."""
_MAX_GROUP_FRAMES: Final = 300
"""The most frames that are decoded after one of many key frames."""


@dataclass(frozen=True, slots=True)
class Clip:
    """The properties of a clip, as a player shows it.

    Attributes:
        width: In square pixels, after the clip was turned upright.
        height: In the same pixels.
        seconds: The length of the part that is shown.
        codec: The codec's name, such as ``h264``.
        codec_tag: How the file names the codec, such as ``avc1`` or ``hev1``.
        pixel_format: FFmpeg's name of the pixel format, such as ``yuv420p``.
        bytes: The size of the file.
        sha256: The digest of the file.
    """

    width: int
    height: int
    seconds: float
    codec: str
    bytes: int
    sha256: str
    codec_tag: str = "avc1"
    pixel_format: str = "yuv420p"


@dataclass(frozen=True, slots=True)
class ClipInspection:
    """What the inspection of a clip has found.

    Attributes:
        clip: Its properties.
        is_black: Whether all of it is black.
        is_frozen: Whether nothing in it moves.
        damage: Why a part of it could not be decoded; empty if that did not happen.
        decoded: How many frames were decoded.
    """

    clip: Clip
    is_black: bool
    is_frozen: bool
    damage: str
    decoded: int


def inspect_clip(path: Path, poster: Path) -> ClipInspection:
    """Inspect a clip, and write an early frame of it as a JPEG of at most 640 pixels' width.

    Raises:
        IncompleteClip: Its own index lists samples beyond its end.
        BadClip: It is empty, cannot be opened, or has no video that can be decoded.
    """
    size = path.stat().st_size
    if size == 0:
        raise BadClip("the clip is empty (0 bytes)")
    with open_clip(path) as reader:
        evidence = _MotionSearch(reader)
        damage = evidence.collect()
        frame = evidence.poster
        if frame is None:
            cause = f": {damage}" if damage else ""
            raise BadClip(f"no frame of the clip can be decoded{cause}")
        shown = display_size(frame, reader.pixel_aspect)
        width = min(_POSTER_WIDTH, shown[0])
        image = to_image(frame, (width, max(1, round(shown[1] * width / shown[0]))))
        clip = Clip(
            width=shown[0],
            height=shown[1],
            seconds=round(float(reader.seconds), 3),
            # The context's own name is that of the decoder, which for some codecs is a library.
            codec=reader.codec.codec.canonical_name,
            codec_tag=reader.codec.codec_tag,
            pixel_format=frame.format.name,
            bytes=size,
            sha256=sha256_of(path),
        )
    image.save(poster, "JPEG", quality=85)
    return ClipInspection(clip, evidence.is_black, evidence.is_frozen, damage, reader.decoded)


class _MotionSearch:
    """Decodes frames of a clip until it is clear whether it moves.

    Attributes:
        poster: The frame for the poster; None: none was decoded.
        is_black: Whether all samples are black.
        is_frozen: Whether nothing in the samples moves.
    """

    def __init__(self, reader: ClipReader) -> None:
        self.poster: VideoFrame | None = None
        self.is_black = self.is_frozen = False
        self._reader = reader
        self._brightest = 0.0
        self._start = min(packet.pts for packet in reader.packets)
        self._is_idle = is_idle(reader.packets)
        keys = [packet for packet in reader.packets if packet.is_key]
        # Encoders give the first key frame another quality than the others. In a still image of
        # low quality, this difference would look like motion.
        self._keys = keys[1:] if self._is_idle and len(keys) > _FEW_KEY_FRAMES else keys

    def collect(self) -> str:
        """Decode until it is clear whether the clip is black or frozen.

        Returns:
            Why a part of the clip could not be decoded; empty if that did not happen.
        """
        try:
            moves, samples = self._find_motion()
        except (BadClip, FFmpegError) as error:
            return str(getattr(error, "strerror", None) or error)
        self.is_black = not moves and is_black(samples)
        self.is_frozen = not moves and is_frozen(samples)
        return ""

    def _find_motion(self) -> tuple[bool, Sequence[Image.Image]]:
        """Return whether there is clear motion, and thumbnails to judge by if there is none.

        The cheapest evidence is looked at first, and the most expensive last.
        """
        if len(self._keys) > 1:
            early, last, different = self._keys_to_compare()
            first = self._first_samples() if self._first_frames_are_cheap(early, last) else []
            if self._moves(first) and self._brightest >= DIM:
                return True, []
            times = dict.fromkeys((early.pts, last.pts, different.pts))
            moves, samples = self._key_samples(times, first[:1])
            if moves or (self._is_idle and are_alike(samples)):
                return moves, samples
        if len(self._keys) < _MANY_KEY_FRAMES:
            # After these frames, nothing changes in an idle clip with one key frame.
            is_still = self._is_idle and len(self._keys) == 1
            return self._even_samples(REFINING_FRAMES if is_still else _MAX_FRAMES)
        step = (len(self._keys) - 1) / (_SAMPLES - 1)
        even = {self._keys[round(number * step)].pts for number in range(_SAMPLES)}
        moves, samples = self._key_samples(sorted(even))
        if not samples and not moves:
            # The packets that the file marks as key frames cannot be decoded alone.
            return self._even_samples(_MAX_FRAMES)
        return moves or self._busiest_group_moves(), samples

    def _keys_to_compare(self) -> tuple[ShownPacket, ShownPacket, ShownPacket]:
        """Return an early key frame, the last, and the one that differs most from it in size."""
        tenth = self._start + int(self._reader.seconds / _POSTER_AT / self._reader.time_base)
        early = min(self._keys, key=lambda key: abs(key.pts - tenth))
        different = max(self._keys, key=lambda key: abs(key.size - early.size))
        return early, self._keys[-1], different

    def _first_frames_are_cheap(self, early: ShownPacket, last: ShownPacket) -> bool:
        """Return whether decoding the first frames costs less than decoding the last key frame.

        False also if the early key frame is not the first packet, or if the clip is idle: then the
        first frames would show nothing.
        """
        following = self._reader.packets[1 : _CHEAP_PACKETS + 1]
        is_first = early is self._reader.packets[0] and not self._is_idle
        return is_first and sum(packet.size for packet in following) < last.size

    def _first_samples(self) -> list[Image.Image]:
        """Decode the first frames, until they clearly differ; return their thumbnails."""
        samples: list[Image.Image] = []
        for frame in self._reader.frames_from(self._start, _CHEAP_FRAMES):
            samples.append(self._sample(frame))
            if self._moves(samples):
                break
        return samples

    def _key_samples(
        self, times: Iterable[int], decoded: Sequence[Image.Image] = ()
    ) -> tuple[bool, list[Image.Image]]:
        """Decode these key frames; return whether they differ clearly, else their thumbnails.

        Args:
            times: The times of the key frames.
            decoded: The thumbnails of the first of them that are already decoded.
        """
        taken = dict(zip(times, decoded, strict=False))
        for pts in times:
            frame = None if pts in taken else self._reader.key_frame(pts)
            if frame is not None:
                taken[pts] = self._sample(frame)
                if self._moves(list(taken.values())):
                    return True, []
        return False, [taken[pts] for pts in sorted(taken)]

    def _even_samples(self, max_frames: int) -> tuple[bool, list[Image.Image]]:
        """Decode from the start; return whether frames differ clearly, else even thumbnails.

        Args:
            max_frames: The most frames to decode. If these are `_MAX_FRAMES` and do not reach the
                end, there are no thumbnails, because they would not show the whole clip.
        """
        step = self._reader.seconds / _SAMPLES
        samples: list[Image.Image] = []
        number, moves = 0, False
        for number, frame in enumerate(self._reader.frames_from(self._start, max_frames), 1):
            elapsed = ((frame.pts or 0) - self._start) * self._reader.time_base
            is_due = elapsed >= len(samples) * step
            if is_due or number in _FIRST_FRAMES:
                sample = self._sample(frame)
                moves = moves or self._moves([*samples, sample])
                if is_due:
                    samples.append(sample)
            if moves and (self._brightest >= DIM or number >= _MAX_DIM_FRAMES):
                return True, []
        return moves, samples if number < _MAX_FRAMES else []

    def _busiest_group_moves(self) -> bool:
        """Return whether the frames move after the key frame that is followed by the most bytes."""
        starts = [index for index, packet in enumerate(self._reader.packets) if packet.is_key]
        ends = [*starts[1:], len(self._reader.packets)]
        groups = [self._reader.packets[start:end] for start, end in zip(starts, ends, strict=True)]
        busiest = max(groups, key=lambda group: sum(packet.size for packet in group[1:]))
        count = min(len(busiest), _MAX_GROUP_FRAMES)
        samples: list[Image.Image] = []
        for number, frame in enumerate(self._reader.frames_from(busiest[0].pts, count)):
            if number % max(1, count // _SAMPLES) == 0:
                samples.append(self._sample(frame))
                if self._moves(samples):
                    return True
        return False

    def _sample(self, frame: VideoFrame) -> Image.Image:
        """Make a thumbnail; keep a brighter frame for the poster while the kept one is dim."""
        sample = thumbnail(frame)
        level = brightest(sample)
        if self.poster is None or (self._brightest < DIM and level > self._brightest):
            self.poster, self._brightest = frame, level
        return sample

    @staticmethod
    def _moves(samples: Sequence[Image.Image]) -> bool:
        return has_clear_motion(samples) and not is_black(samples)
