"""What is said of a clip was read from its frames, and no file can make that reading endless."""

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

from worker.media.clips import (
    BadClip,
    Clip,
    QualityFinding,
    check,
    inspect,
    is_black,
    is_frozen,
    make_poster,
    probe,
)

Paint = Callable[[int], Image.Image]
RATE = 25


def moving(number: int) -> Image.Image:
    """A bright bar that goes across slowly."""
    image = Image.new("RGB", (320, 180), (40, 90, 40))
    image.paste((240, 240, 240), (number, 0, number + 60, 180))
    return image


def still(_number: int) -> Image.Image:
    """The same picture every time."""
    return moving(40)


def black(_number: int) -> Image.Image:
    """Nothing to be seen."""
    return Image.new("RGB", (320, 180))


def clip(path: Path, paint: Paint = moving, frames: int = 100, **options: str) -> Path:
    """Write a clip of that many frames at 25 frames a second."""
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
    """Where the clip lies."""
    return tmp_path / "clip.mp4"


def test_a_clip_is_read_from_its_file(path: Path) -> None:
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


def test_a_file_cut_off_is_as_long_as_its_frames_not_its_header(path: Path) -> None:
    whole = clip(path).read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    found = probe(path)
    assert 0 < found.seconds < 4
    assert check(found, seconds=4) == (
        QualityFinding("length", f"It lasts {found.seconds:g} s, not 4 s."),
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
def test_what_is_no_clip_is_a_bad_clip(path: Path, content: bytes) -> None:
    clip(path.with_name("other.mp4"), frames=5)
    path.write_bytes(content)
    with pytest.raises(BadClip):
        probe(path)
    with pytest.raises(BadClip):
        make_poster(path, path.with_suffix(".jpg"))
    with pytest.raises(BadClip):
        inspect(path)
    assert not path.with_suffix(".jpg").exists()


def test_a_file_that_is_not_there_is_no_bad_clip(path: Path) -> None:
    for look in (probe, inspect):
        with pytest.raises(FileNotFoundError):
            look(path)


def test_sound_alone_is_a_bad_clip(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44_100)
        assert isinstance(stream, AudioStream)
        frame = av.AudioFrame("fltp", "stereo", 1024)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate = 44_100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(BadClip, match="no picture"):
        probe(path)


def test_frames_of_garbage_are_a_bad_clip(path: Path) -> None:
    """The container is whole, what is in it is not."""
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


def test_any_damage_gives_a_clip_or_a_bad_clip(path: Path) -> None:
    """In a process of its own, so that a crash in native code is seen as what it is."""
    clip(path, frames=12)
    program = """
import sys
from pathlib import Path
from worker.media.clips import BadClip, inspect, make_poster, probe
path, target = Path(sys.argv[1]), Path(sys.argv[1] + ".damaged")
whole = path.read_bytes()
outcomes = set()
for at in range(0, len(whole), max(1, len(whole) // 120)):
    target.write_bytes(whole[:at] + b"\\xff\\xff\\xff\\xff" + whole[at + 4 :])
    for look in (probe, inspect, lambda p: make_poster(p, Path(sys.argv[1] + ".jpg"))):
        try:
            look(target)
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
        (9.4, None, ("It lasts 10 s, not 9.4 s.",)),
        (None, "9:16", ("It has 1920 by 1080 pixels, not 9:16.",)),
        (5, "1:1", ("It lasts 10 s, not 5 s.", "It has 1920 by 1080 pixels, not 1:1.")),
    ],
)
def test_what_was_asked_for(
    seconds: float | None, aspect: str | None, findings: tuple[str, ...]
) -> None:
    found = Clip(width=1920, height=1080, seconds=10, codec="h264", bytes=1, sha256="")
    found_out = check(found, seconds=seconds, aspect=aspect)
    assert tuple(finding.message for finding in found_out) == findings


def test_more_than_1080p_is_marked_and_upright_1080p_is_not() -> None:
    def sizes(width: int, height: int) -> list[str]:
        clip = Clip(width=width, height=height, seconds=1, codec="h264", bytes=1, sha256="")
        return [finding.code for finding in check(clip)]

    assert sizes(1080, 1920) == sizes(1920, 1080) == sizes(1080, 1080) == []
    assert sizes(3840, 2160) == sizes(1440, 1440) == ["size"]


def test_another_codec_is_found(path: Path) -> None:
    found = check(probe(clip(path, codec="mpeg4", frames=5)))
    assert found == (QualityFinding("codec", "The codec is mpeg4, not H.264."),)


def test_a_codec_is_told_by_its_own_name_not_its_decoders(path: Path) -> None:
    assert probe(clip(path, codec="libsvtav1", frames=5)).codec == "av1"


def test_a_poster_is_a_small_jpeg_from_a_little_into_the_clip(path: Path, tmp_path: Path) -> None:
    def large(number: int) -> Image.Image:
        return moving(number * 2).resize((1280, 720))

    poster = tmp_path / "poster.jpg"
    make_poster(clip(path, large, 50), poster)
    with Image.open(poster) as image:
        assert image.format == "JPEG"
        assert image.size == (640, 360)
        # A tenth into 50 frames is frame 5: the bar has gone from 0 to 10 of 320.
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
def test_black_and_frozen_clips_are_found(
    path: Path, paint: Paint, findings: tuple[str, ...], group: str
) -> None:
    assert codes(clip(path, paint, g=group)) == findings


def codes(path: Path) -> tuple[str, ...]:
    return tuple(finding.code for finding in inspect(path))


def test_what_moves_only_near_its_end_is_not_frozen(path: Path) -> None:
    """One key frame at the start: the first look does not reach the motion."""

    def late(number: int) -> Image.Image:
        return moving(max(0, number - 230))

    assert codes(clip(path, late, frames=250, g="1000", sc_threshold="0")) == ()


def test_a_still_that_becomes_black_is_neither(path: Path) -> None:
    assert codes(clip(path, lambda n: moving(40) if n < 50 else black(n))) == ()


@pytest.mark.parametrize(("crf", "group"), [("18", "250"), ("30", "12"), ("36", "25")])
def test_a_flat_picture_with_a_small_thing_in_a_slow_zoom_is_not_frozen(
    path: Path, crf: str, group: str
) -> None:
    def zoom(number: int) -> Image.Image:
        image = Image.new("RGB", (640, 360), (245, 245, 243))
        image.paste((90, 60, 40), (260, 160, 310, 200))
        share = number / 100 * 0.02
        box = (320 * share, 180 * share, 640 - 320 * share, 360 - 180 * share)
        return image.resize((640, 360), Image.Resampling.BICUBIC, box)

    assert codes(clip(path, zoom, crf=crf, g=group)) == ()


def test_a_slow_camera_is_not_frozen(path: Path) -> None:
    """Four pixels of a picture with little contrast, over a whole clip."""

    def slow(number: int) -> Image.Image:
        image = Image.linear_gradient("L").resize((400, 200)).rotate(30).convert("RGB")
        left = number * 4 // 100
        return image.crop((left, 10, left + 320, 190))

    assert codes(clip(path, slow)) == ()


def grey(shade: int, spot: int | None = None) -> Image.Image:
    """A thumbnail of one shade, with one pixel of another."""
    image = Image.new("L", (96, 54), shade)
    if spot is not None:
        image.putpixel((50, 20), spot)
    return image


def test_one_bright_sample_is_enough_not_to_be_black() -> None:
    assert is_black([grey(0), grey(5)])
    assert not is_black([grey(0), grey(200)])
    assert not is_black([grey(0, spot=255)]), "a star in the night is something to see"


def test_one_change_is_enough_not_to_be_frozen() -> None:
    assert is_frozen([grey(90)] * 3)
    assert not is_frozen([grey(90), grey(90), grey(99)])
    assert not is_frozen([grey(90), grey(90, spot=240)]), "a small thing moves"
    assert not is_frozen([])
