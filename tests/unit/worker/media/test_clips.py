"""Clips: their properties, quality and poster are read from their frames, within limits."""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from PIL import Image

from worker.media.clip_frames import BadClip
from worker.media.clip_quality import QualityFinding, check, inspect, is_black, is_frozen
from worker.media.clips import Clip, make_poster, probe

Paint = Callable[[int], Image.Image]
RATE = 25


def moving(number: int) -> Image.Image:
    """A bright bar that moves slowly to the right."""
    image = Image.new("RGB", (320, 180), (40, 90, 40))
    image.paste((240, 240, 240), (number, 0, number + 60, 180))
    return image


def still(_number: int) -> Image.Image:
    """The same image every time."""
    return moving(40)


def black(_number: int) -> Image.Image:
    """A black image."""
    return Image.new("RGB", (320, 180))


def clip(path: Path, paint: Paint = moving, frames: int = 100, **options: str) -> Path:
    """Write a clip of this many frames at 25 frames a second."""
    codec = options.pop("codec", "libx264")
    muxer = {"movflags": options.pop("movflags", "+faststart")}
    with av.open(str(path), "w", format="mp4", options=muxer) as container:
        stream = container.add_stream(codec, rate=RATE, options=options)
        assert isinstance(stream, VideoStream)
        first = paint(0)
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame(first.width, first.height, "rgb24")
            raw, plane = paint(number).tobytes(), frame.planes[0]
            step, line = first.width * 3, plane.line_size
            plane.update(
                b"".join(raw[at : at + step].ljust(line, b"\0") for at in range(0, len(raw), step))
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the clip."""
    return tmp_path / "clip.mp4"


def test_properties_are_read_from_the_file(path: Path) -> None:
    found = probe(clip(path))
    assert found == Clip(
        width=320,
        height=180,
        seconds=4.0,
        codec="h264",
        bytes=path.stat().st_size,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    assert check(found, seconds=4, aspect="16:9") == ()
    assert check(found) == ()


def test_length_of_a_truncated_clip_is_that_of_its_frames(path: Path) -> None:
    whole = clip(path).read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    found = probe(path)
    assert 0 < found.seconds < 4
    assert check(found, seconds=4) == (
        QualityFinding("length", f"The clip lasts {found.seconds:g} s, not 4 s."),
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>502 Bad Gateway</html>",
        b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp42",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.mp4\n",
        b"ffconcat version 1.0\nfile other.mp4\n",
        bytes(10_000),
    ],
)
def test_a_file_that_is_not_a_clip_is_a_bad_clip(path: Path, content: bytes) -> None:
    clip(path.with_name("other.mp4"), frames=5)
    path.write_bytes(content)
    with pytest.raises(BadClip):
        probe(path)
    with pytest.raises(BadClip):
        make_poster(path, path.with_suffix(".jpg"))
    with pytest.raises(BadClip):
        inspect(path)
    assert not path.with_suffix(".jpg").exists()


def test_a_missing_file_is_not_a_bad_clip(path: Path) -> None:
    for read in (probe, inspect):
        with pytest.raises(FileNotFoundError):
            read(path)


def test_audio_alone_is_a_bad_clip(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44_100)
        assert isinstance(stream, AudioStream)
        frame = av.AudioFrame("fltp", "stereo", 1024)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate = 44_100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(BadClip, match="no video stream"):
        probe(path)


def test_undecodable_frames_are_a_bad_clip(path: Path) -> None:
    """The container is intact, its frames are not."""
    whole = bytearray(clip(path, frames=20).read_bytes())
    start = whole.index(b"mdat") + 4
    whole[start:] = b"\x55" * (len(whole) - start)
    path.write_bytes(whole)
    with pytest.raises(BadClip):
        probe(path)


def test_frames_too_large_to_decode_are_refused(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 8160, 4432, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(8160, 4432, "yuv420p")))
        container.mux(stream.encode(None))
    with pytest.raises(BadClip, match="8160 by 4432"):
        probe(path)


def test_damaged_clips_give_a_result_or_a_bad_clip(path: Path) -> None:
    """Run in a process of its own, so that a crash in native code is seen."""
    clip(path, frames=12)
    program = """
import sys
from pathlib import Path
from worker.media.clip_frames import BadClip
from worker.media.clip_quality import inspect
from worker.media.clips import make_poster, probe
path, target = Path(sys.argv[1]), Path(sys.argv[1] + ".damaged")
whole = path.read_bytes()
outcomes = set()
for at in range(0, len(whole), max(1, len(whole) // 120)):
    target.write_bytes(whole[:at] + b"\\xff\\xff\\xff\\xff" + whole[at + 4 :])
    for read in (probe, inspect, lambda p: make_poster(p, Path(sys.argv[1] + ".jpg"))):
        try:
            read(target)
            outcomes.add("good")
        except BadClip:
            outcomes.add("bad")
print(sorted(outcomes))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "['bad', 'good']\n", done.stderr[-2000:]


@pytest.mark.parametrize(
    ("seconds", "aspect", "findings"),
    [
        (10, "16:9", ()),
        (9.5, "16:9", ()),
        (10.5, None, ()),
        (9.4, None, ("The clip lasts 10 s, not 9.4 s.",)),
        (None, "9:16", ("The clip has 1920 by 1080 pixels, not 9:16.",)),
        (5, "1:1", ("The clip lasts 10 s, not 5 s.", "The clip has 1920 by 1080 pixels, not 1:1.")),
    ],
)
def test_differences_from_the_request(
    seconds: float | None, aspect: str | None, findings: tuple[str, ...]
) -> None:
    clip = Clip(width=1920, height=1080, seconds=10, codec="h264", bytes=1, sha256="")
    found = check(clip, seconds=seconds, aspect=aspect)
    assert tuple(finding.message for finding in found) == findings


def test_more_than_1080p_is_a_finding_and_vertical_1080p_is_not() -> None:
    def sizes(width: int, height: int) -> list[str]:
        clip = Clip(width=width, height=height, seconds=1, codec="h264", bytes=1, sha256="")
        return [finding.code for finding in check(clip)]

    assert sizes(1080, 1920) == sizes(1920, 1080) == sizes(1080, 1080) == []
    assert sizes(3840, 2160) == sizes(1440, 1440) == ["size"]


def test_another_codec_is_a_finding(path: Path) -> None:
    found = check(probe(clip(path, codec="mpeg4", frames=5)))
    assert found == (QualityFinding("codec", "The codec is mpeg4, not H.264."),)


def test_a_codec_has_its_own_name_not_that_of_its_decoder(path: Path) -> None:
    assert probe(clip(path, codec="libsvtav1", frames=5)).codec == "av1"


def test_a_poster_is_a_small_jpeg_of_an_early_frame(path: Path, tmp_path: Path) -> None:
    def large(number: int) -> Image.Image:
        return moving(number * 2).resize((1280, 720))

    poster = tmp_path / "poster.jpg"
    make_poster(clip(path, large, 50), poster)
    with Image.open(poster) as image:
        assert image.format == "JPEG"
        assert image.size == (640, 360)
        # A tenth of 50 frames is frame 5: the bar has moved from 0 to 10 of 320.
        row = image.convert("1", dither=Image.Dither.NONE).crop((0, 180, 640, 181)).tobytes()
    bar = "".join(f"{byte:08b}" for byte in row).index("1")
    assert 16 <= bar <= 24


def test_a_small_clip_is_not_enlarged_for_its_poster(path: Path, tmp_path: Path) -> None:
    make_poster(clip(path, frames=1), tmp_path / "poster.jpg")
    with Image.open(tmp_path / "poster.jpg") as image:
        assert image.size == (320, 180)


@pytest.mark.parametrize("group", ["250", "25", "12"])
@pytest.mark.parametrize(
    ("paint", "findings"), [(moving, ()), (still, ("frozen",)), (black, ("black", "frozen"))]
)
def test_black_and_frozen_clips_are_findings(
    path: Path, paint: Paint, findings: tuple[str, ...], group: str
) -> None:
    assert codes(clip(path, paint, g=group)) == findings


def codes(path: Path) -> tuple[str, ...]:
    return tuple(finding.code for finding in inspect(path))


def test_a_clip_that_moves_only_near_its_end_is_not_frozen(path: Path) -> None:
    """With one key frame, at the start: the sparse samples do not reach the motion."""

    def late(number: int) -> Image.Image:
        return moving(max(0, number - 230))

    assert codes(clip(path, late, frames=250, g="1000", sc_threshold="0")) == ()


def test_a_still_image_that_becomes_black_is_neither_black_nor_frozen(path: Path) -> None:
    assert codes(clip(path, lambda n: moving(40) if n < 50 else black(n))) == ()


@pytest.mark.parametrize(("crf", "group"), [("18", "250"), ("30", "12"), ("36", "25")])
def test_a_slow_zoom_on_a_small_object_is_not_frozen(path: Path, crf: str, group: str) -> None:
    def zoom(number: int) -> Image.Image:
        image = Image.new("RGB", (640, 360), (245, 245, 243))
        image.paste((90, 60, 40), (260, 160, 310, 200))
        share = number / 100 * 0.02
        box = (320 * share, 180 * share, 640 - 320 * share, 360 - 180 * share)
        return image.resize((640, 360), Image.Resampling.BICUBIC, box)

    assert codes(clip(path, zoom, crf=crf, g=group)) == ()


def test_a_slow_camera_move_is_not_frozen(path: Path) -> None:
    """Four pixels over the whole clip, on an image of low contrast."""

    def slow(number: int) -> Image.Image:
        image = Image.linear_gradient("L").resize((400, 200)).rotate(30).convert("RGB")
        left = number * 4 // 100
        return image.crop((left, 10, left + 320, 190))

    assert codes(clip(path, slow)) == ()


def gray(shade: int, spot: int | None = None) -> Image.Image:
    """A thumbnail of one shade, with one pixel of another."""
    image = Image.new("L", (96, 54), shade)
    if spot is not None:
        image.putpixel((50, 20), spot)
    return image


def test_a_clip_with_one_bright_sample_is_not_black() -> None:
    assert is_black([gray(0), gray(5)])
    assert not is_black([gray(0), gray(200)])
    assert not is_black([gray(0, spot=255)]), "a star in the night sky is visible"


def test_a_clip_with_one_change_is_not_frozen() -> None:
    assert is_frozen([gray(90)] * 3)
    assert not is_frozen([gray(90), gray(90), gray(99)])
    assert not is_frozen([gray(90), gray(90, spot=240)]), "a small object moves"
    assert not is_frozen([])
