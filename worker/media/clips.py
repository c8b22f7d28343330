"""A finished clip: its properties, read from the file itself, and its poster."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from PIL import Image

from worker.media.clip_frames import ON_THE_SIDE, BadClip, open_clip, transposition
from worker.media.prepared_file import sha256_of

_POSTER_WIDTH: Final = 640
_POSTER_AT: Final = Fraction(1, 10)


@dataclass(frozen=True, slots=True)
class Clip:
    """The properties of a clip, as a player shows it.

    Attributes:
        width: In square pixels, after the clip was turned upright.
        height: As ``width``.
        seconds: The length of what is shown.
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


def probe(path: Path) -> Clip:
    """Read the properties of a clip. Its length is that of its frames, not of its header.

    Raises:
        IncompleteClip: Its own index lists samples beyond its end.
        BadClip: It is empty, cannot be opened, has no video, or none that can be decoded.
    """
    size = path.stat().st_size
    if size == 0:
        raise BadClip("the clip is empty (0 bytes)")
    with open_clip(path) as clip:
        seconds = float(clip.length())
        clip.require_complete(size)
        frame = clip.frame_at(Fraction(0))
        if frame is None:
            raise BadClip("no frame of the clip can be decoded")
        width, height = clip.display_size(frame)
        # The context's own name is that of the decoder, which for some codecs is a library.
        codec, codec_tag = clip.codec.codec.canonical_name, clip.codec.codec_tag
    return Clip(
        width=width,
        height=height,
        seconds=round(seconds, 3),
        codec=codec,
        codec_tag=codec_tag,
        pixel_format=frame.format.name,
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
        shown, turn = clip.display_size(frame), transposition(frame)
        width = min(_POSTER_WIDTH, shown[0])
        size = width, max(1, round(shown[1] * width / shown[0]))
        across, down = reversed(size) if turn in ON_THE_SIDE else size
        image: Image.Image = frame.to_image(width=across, height=down)  # type: ignore[no-untyped-call] # no types there
        image = image if turn is None else image.transpose(turn)
    image.save(to, "JPEG", quality=85, optimize=True)
