"""Pictures and films made for tests."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from PIL import ExifTags, Image, ImageCms
from pillow_heif import register_heif_opener

register_heif_opener()

CANARY = b"Kamera-von-Kim"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LEFT, RIGHT = (220, 30, 30), (30, 30, 220)


def picture(size: tuple[int, int] = (64, 48), mode: str = "RGB") -> Image.Image:
    """Red on the left, blue on the right: what is turned can be seen."""
    image = Image.new("RGB", size, LEFT)
    image.paste(RIGHT, (size[0] // 2, 0, *size))
    return image.convert(mode)


def camera_data(orientation: int = 1) -> bytes:
    """EXIF as a phone writes it: camera, place, orientation."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = CANARY.decode()
    exif[ExifTags.Base.Orientation] = orientation
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (52.0, 31.0, 12.0)
    return exif.tobytes()


def save(image: Image.Image, path: Path, form: str, **options: object) -> Path:
    """Write a picture whose name says nothing about its form."""
    image.save(path, form, **options)
    return path


def film(path: Path, form: str, video: str | None, audio: str | None) -> Path:
    """Half a second of film, of sound, or of both."""
    with av.open(str(path), "w", format=form) as container:
        streams = []
        if video:
            streams.append(_moving(container.add_stream(video, rate=10)))
        if audio:
            streams.append(_sounding(container.add_stream(audio, rate=44_100)))
        for stream in streams:
            next(stream)
        for stream in streams:
            for packet in stream:
                container.mux(packet)
    return path


def _moving(stream: object) -> Iterator[Any]:
    """Set the stream up, then give its packets."""
    assert isinstance(stream, VideoStream)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    yield None
    for _ in range(5):
        frame = av.VideoFrame(64, 48, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _sounding(stream: object) -> Iterator[Any]:
    """Set the stream up, then give its packets."""
    assert isinstance(stream, AudioStream)
    yield None
    for number in range(20):
        frame = av.AudioFrame(stream.codec_context.format.name, "stereo", 1024)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate = 44_100
        frame.pts, frame.time_base = number * 1024, Fraction(1, 44_100)
        yield from stream.encode(frame)
    yield from stream.encode(None)
