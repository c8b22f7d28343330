"""Pictures and films made for tests."""

import io
import struct
import subprocess
import sys
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


def vast_jpeg(path: Path, columns: int, rows: int) -> Path:
    """A picture of that many times 16 pixels, left red and right blue, made without its pixels.

    Each block of 16 by 16 is coded on its own, between restart markers, and used again.
    """
    sample = io.BytesIO()
    picture((32, 16)).save(sample, "JPEG", quality=90, subsampling="4:2:0", restart_marker_blocks=1)
    whole = bytearray(sample.getvalue())
    frame = whole.index(b"\xff\xc0")
    whole[frame + 5 : frame + 9] = struct.pack(">HH", rows * 16, columns * 16)
    scan = whole.index(b"\xff\xda")
    start = scan + 2 + int.from_bytes(whole[scan + 2 : scan + 4], "big")
    left, right = bytes(whole[start:-2]).split(b"\xff\xd0")
    blocks = [left] * (columns // 2) + [right] * (columns - columns // 2)
    # The markers count to eight: after eight rows they stand in the same places again.
    eight = b"".join(
        block + bytes((0xFF, 0xD0 + number % 8)) for number, block in enumerate(blocks * 8)
    )
    assert rows % 8 == 0
    with path.open("wb") as file:
        file.write(whole[:start])
        for _ in range(rows // 8):
            file.write(eight)
        # No marker stands behind the last block but the end.
        file.seek(-2, io.SEEK_CUR)
        file.write(b"\xff\xd9")
    return path


def prepared_within(memory: int, given: Path, workdir: Path) -> str:
    """What is said of a picture by a process that may have so many bytes of memory."""
    program = """
import resource, sys
from pathlib import Path
from worker.file_refusal import FileRefusedError
from worker.media import prepare_image
memory = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
given = Path(sys.argv[1])
try:
    print(*prepare_image(given, given.name, Path(sys.argv[2])).changes)
except FileRefusedError as error:
    print(error.code, error.message, error.remedy)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(given), str(workdir), str(memory)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


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
