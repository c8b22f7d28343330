"""A finished clip: its properties, read from the file itself, and its poster."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from PIL import Image

from worker.media.clip_frames import BadClip, open_clip
from worker.media.prepared_file import sha256_of

_POSTER_WIDTH: Final = 640
_POSTER_AT: Final = Fraction(1, 10)


@dataclass(frozen=True, slots=True)
class Clip:
    """The properties of a clip: pixels, seconds, the codec's name (such as ``h264``), bytes."""

    width: int
    height: int
    seconds: float
    codec: str
    bytes: int
    sha256: str


def probe(path: Path) -> Clip:
    """Read the properties of a clip. Its length is that of its frames, not of its header.

    Raises:
        BadClip: It is empty, cannot be opened, has no video, or none that can be decoded.
    """
    size = path.stat().st_size
    if size == 0:
        raise BadClip("the clip is empty (0 bytes)")
    with open_clip(path) as clip:
        seconds = float(clip.length())
        if clip.frame_at(Fraction(0)) is None:
            raise BadClip("no frame of the clip can be decoded")
        # The context's own name is that of the decoder, which for some codecs is a library.
        width, height, codec = clip.codec.width, clip.codec.height, clip.codec.codec.canonical_name
    return Clip(
        width=width,
        height=height,
        seconds=round(seconds, 3),
        codec=codec,
        bytes=size,
        sha256=sha256_of(path),
    )


def make_poster(path: Path, to: Path) -> None:
    """Write an early frame of a clip as a JPEG, at most 640 pixels wide.

    Raises:
        BadClip: No frame can be decoded.
    """
    with open_clip(path) as clip:
        frame = clip.frame_at(clip.length() * _POSTER_AT)
        if frame is None:
            raise BadClip("no frame of the clip can be decoded")
        width = min(_POSTER_WIDTH, frame.width)
        height = max(1, round(frame.height * width / frame.width))
        image: Image.Image = frame.to_image(width=width, height=height)  # type: ignore[no-untyped-call] # no types there
    image.save(to, "JPEG", quality=85, optimize=True)
