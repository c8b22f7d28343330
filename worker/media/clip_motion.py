"""Detects motion in a clip, by gray thumbnails of its frames and by the sizes of its packets."""

from collections.abc import Sequence
from itertools import pairwise, product
from typing import Final, cast

from av.video.frame import VideoFrame
from PIL import Image, ImageChops, ImageStat

from worker.media.clip_frames import ShownPacket

_THUMBNAIL: Final = (96, 54)
_BLOCK: Final = 6
"""The side of the blocks that thumbnails are compared by, in pixels."""
_BLACK_MEAN, _BLACK_PEAK = 10, 40
DIM: Final = 100
"""A frame is dim if its brightest gray level is below this. A brighter one is then sought for the
poster."""
_CLEAR_MOTION: Final = 3.0
"""A difference in gray levels that compression alone does not cause in a still image."""
_GROWTH: Final = 1.2
"""How much more the ends of a moving clip differ than neighboring samples do. The differences of
compression do not add up (1.0 to 1.1). Those of the slowest zoom, by 1 % in ten seconds on a flat
image, do (1.3 to 4). `python -m tests.bench.quality` prints them."""
_NO_MOTION: Final = 0.3
_END_SHARE: Final = 6
"""One in this many samples counts as the start of the clip, and the same number as its end."""
_EMPTY_PACKET: Final = 128
_EMPTY_SHARE: Final = 0.02
"""A packet of at most this many bytes, or this share of its key frame's, may hold no change."""
REFINING_FRAMES: Final = 24
"""The number of frames after a key frame in which an encoder refines a still image."""
_MAX_PERIOD: Final = 16


def brightest(sample: Image.Image) -> float:
    """Return the brightest gray level of a thumbnail."""
    return cast("tuple[float, float]", sample.getextrema())[1]


def is_black(samples: Sequence[Image.Image]) -> bool:
    """Return whether all of these gray thumbnails are black; False if there are none."""
    return bool(samples) and all(
        ImageStat.Stat(sample).mean[0] < _BLACK_MEAN and brightest(sample) < _BLACK_PEAK
        for sample in samples
    )


def is_frozen(samples: Sequence[Image.Image]) -> bool:
    """Return whether these gray thumbnails, in order, show no motion; False if there are none.

    The differences that a slow camera move makes add up from start to end; those of compression do
    not.
    """
    near = max((motion(before, after) for before, after in pairwise(samples)), default=0.0)
    ends = max(1, len(samples) // _END_SHARE)
    far = max((motion(a, b) for a, b in product(samples[:ends], samples[-ends:])), default=0.0)
    if not samples or max(near, far) >= _CLEAR_MOTION:
        return False
    return far < max(_NO_MOTION, near * _GROWTH)


def has_clear_motion(samples: Sequence[Image.Image]) -> bool:
    """Return whether the last of these thumbnails clearly differs from the first or the one before.

    Call it after each sample: once it returns True, the clip has motion, and decoding can stop.
    """
    return len(samples) > 1 and any(
        motion(samples[index], samples[-1]) >= _CLEAR_MOTION for index in {0, len(samples) - 2}
    )


def are_alike(samples: Sequence[Image.Image]) -> bool:
    """Return whether the last two of these thumbnails show no difference.

    The first one is not compared, because the first key frame of a clip is often encoded at another
    quality than the others.
    """
    return len(samples) > 1 and motion(samples[-2], samples[-1]) < _NO_MOTION


def is_idle(packets: Sequence[ShownPacket]) -> bool:
    """Return whether the packets between key frames are nearly empty and only repeat their sizes.

    An encoder writes a still image in this way, after some frames that refine it. In a slow camera
    move of low quality, the packets are as small, but their sizes vary.
    """
    keys = [index for index, packet in enumerate(packets) if packet.is_key]
    if not keys or keys[0]:
        return False
    for start, end in zip(keys, [*keys[1:], len(packets)], strict=True):
        sizes = [packet.size for packet in packets[start + 1 : end]]
        if max(sizes, default=0) > max(_EMPTY_PACKET, packets[start].size * _EMPTY_SHARE):
            return False
        if not _repeats(sizes[REFINING_FRAMES:]):
            return False
    return True


def _repeats(sizes: Sequence[int]) -> bool:
    """Return whether the sizes repeat, as those of groups of B frames do in a still image."""
    return any(
        all(abs(a - b) <= 2 + b / 16 for a, b in zip(sizes, sizes[period:], strict=False))
        for period in range(1, _MAX_PERIOD + 1)
    )


def motion(before: Image.Image, after: Image.Image) -> float:
    """Return how much two gray thumbnails differ, in gray levels of the most different block.

    Blocks are compared because a slow camera move changes only the edges of a small object.
    """
    return brightest(ImageChops.difference(before, after).convert("F").reduce(_BLOCK))


def thumbnail(frame: VideoFrame) -> Image.Image:
    """Make a small gray copy of a frame; black is 0 and white 255."""
    width, height = _THUMBNAIL
    small = frame.reformat(width, height, "gray", dst_color_range="JPEG", threads=1)
    plane = small.planes[0]
    return Image.frombuffer(
        "L", (width, height), bytes(memoryview(plane)), "raw", "L", plane.line_size, 1
    )
