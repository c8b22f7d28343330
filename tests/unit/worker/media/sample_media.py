"""Images, videos and audio made for tests."""

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


def sample_image(size: tuple[int, int] = (64, 48), mode: str = "RGB") -> Image.Image:
    """Make an image that is red on the left and blue on the right, so that a rotation shows."""
    made = Image.new("RGB", size, LEFT)
    made.paste(RIGHT, (size[0] // 2, 0, *size))
    return made.convert(mode)


def camera_data(orientation: int = 1) -> bytes:
    """Make the EXIF data of a phone: camera, location, orientation."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = CANARY.decode()
    exif[ExifTags.Base.Orientation] = orientation
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (52.0, 31.0, 12.0)
    return exif.tobytes()


def save(made: Image.Image, path: Path, form: str, **options: object) -> Path:
    """Write an image to a path without a suffix."""
    made.save(path, form, **options)
    return path


def huge_jpeg(path: Path, columns: int, rows: int) -> Path:
    """Write a JPEG of this many blocks of 16 by 16 pixels, without encoding its pixels.

    Each block is encoded on its own, between restart markers, and repeated.
    """
    sample = io.BytesIO()
    sample_image((32, 16)).save(
        sample, "JPEG", quality=90, subsampling="4:2:0", restart_marker_blocks=1
    )
    whole = bytearray(sample.getvalue())
    frame = whole.index(b"\xff\xc0")
    whole[frame + 5 : frame + 9] = struct.pack(">HH", rows * 16, columns * 16)
    scan = whole.index(b"\xff\xda")
    start = scan + 2 + int.from_bytes(whole[scan + 2 : scan + 4], "big")
    left, right = bytes(whole[start:-2]).split(b"\xff\xd0")
    blocks = [left] * (columns // 2) + [right] * (columns - columns // 2)
    # The markers count to eight, so after eight rows they repeat.
    eight = b"".join(
        block + bytes((0xFF, 0xD0 + number % 8)) for number, block in enumerate(blocks * 8)
    )
    assert rows % 8 == 0
    with path.open("wb") as file:
        file.write(whole[:start])
        for _ in range(rows // 8):
            file.write(eight)
        # The last block is followed by the end marker.
        file.seek(-2, io.SEEK_CUR)
        file.write(b"\xff\xd9")
    return path


def prepared_within(memory: int, given: Path, workdir: Path) -> str:
    """Prepare an image in a process with limited memory; return its changes or its refusal."""
    program = """
import resource, sys
from pathlib import Path
from worker.file_refusal import FileRefusedError
from worker.media.images import prepare_image
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


def media_file(path: Path, form: str, video: str | None, audio: str | None) -> Path:
    """Write half a second of video, of audio, or of both."""
    with av.open(str(path), "w", format=form) as container:
        streams = []
        if video:
            streams.append(_video_packets(container.add_stream(video, rate=10)))
        if audio:
            streams.append(_audio_packets(container.add_stream(audio, rate=44_100)))
        for stream in streams:
            next(stream)
        for stream in streams:
            for packet in stream:
                container.mux(packet)
    return path


def _video_packets(stream: object) -> Iterator[Any]:
    """Set up the stream, then give its packets."""
    assert isinstance(stream, VideoStream)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    yield None
    for _ in range(5):
        frame = av.VideoFrame(64, 48, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _audio_packets(stream: object) -> Iterator[Any]:
    """Set up the stream, then give its packets."""
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
