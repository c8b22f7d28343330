"""Clips: their properties, quality and poster are read from their frames, within limits."""

import hashlib
import struct
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from PIL import Image

from worker.media.clip_frames import BadClip, IncompleteClip
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
    codec, pixels = options.pop("codec", "libx264"), options.pop("pixels", "yuv420p")
    aspect = options.pop("aspect", "")
    muxer = {"movflags": options.pop("movflags", "+faststart")}
    with av.open(str(path), "w", format="mp4", options=muxer) as container:
        stream = container.add_stream(codec, rate=RATE, options=options)
        assert isinstance(stream, VideoStream)
        first = paint(0)
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, pixels
        if aspect:
            stream.codec_context.sample_aspect_ratio = Fraction(aspect.replace(":", "/"))
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


@pytest.mark.parametrize(
    "movflags", ["+faststart", "frag_keyframe+empty_moov+default_base_moof", "frag_every_frame"]
)
@pytest.mark.parametrize("missing", [1, 0.33])
def test_a_clip_cut_before_what_its_index_lists_is_incomplete(
    path: Path, movflags: str, missing: float
) -> None:
    whole = clip(path, movflags=movflags).read_bytes()
    # Fragments are followed by an index of their own, which no player needs.
    end = whole.rfind(b"mfra") - 4 if b"mfra" in whole else len(whole)
    path.write_bytes(whole[:end])
    assert probe(path).seconds == 4
    cut = missing if isinstance(missing, int) else int(end * missing)
    path.write_bytes(whole[: end - cut])
    with pytest.raises(IncompleteClip, match="its index lists"):
        probe(path)


def test_a_clip_without_its_index_is_a_bad_clip(path: Path) -> None:
    whole = clip(path, movflags="use_metadata_tags").read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(BadClip) as refused:
        probe(path)
    assert not isinstance(refused.value, IncompleteClip)


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
from worker.media.clip_frames import BadClip, IncompleteClip
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


@pytest.mark.parametrize("pixels", ["yuv420p10le", "yuv444p", "yuv422p"])
def test_a_pixel_format_that_many_players_cannot_show_is_a_finding(path: Path, pixels: str) -> None:
    (found,) = check(probe(clip(path, frames=3, pixels=pixels)))
    assert (found.code, "many players" in found.message) == ("codec", True)
    assert f"is {pixels}, not" in found.message


def test_hevc_under_the_tag_hev1_is_a_finding(path: Path) -> None:
    quiet = {"x265-params": "log-level=none"}
    (found,) = check(probe(clip(path, moving, 3, codec="libx265", **quiet)))
    assert found.message == (
        "The codec is hevc with the tag hev1, not H.264: many players cannot show it."
    )
    content = path.read_bytes()
    path.write_bytes(content.replace(b"hev1", b"hvc1"))
    assert check(probe(path)) == (QualityFinding("codec", "The codec is hevc, not H.264."),)


RED, BLUE = (220, 30, 30), (30, 30, 220)


def corner(_number: int) -> Image.Image:
    """A blue image whose upper left quarter is red."""
    image = Image.new("RGB", (320, 180), BLUE)
    image.paste(RED, (0, 0, 160, 90))
    return image


def box_at(content: bytes | bytearray, *names: bytes) -> int:
    """Return where the content of the first box of the last of these names starts."""
    at = 0
    for name in names:
        at = content.index(name, at) + len(name)
    return at


@pytest.mark.parametrize(
    ("matrix", "size", "red"),
    [
        ((0, 1, -1, 0), (180, 320), (1, 0)),
        ((-1, 0, 0, -1), (320, 180), (1, 1)),
        ((0, -1, 1, 0), (180, 320), (0, 1)),
        ((-1, 0, 0, 1), (320, 180), (1, 0)),
        ((1, 0, 0, -1), (320, 180), (0, 1)),
        ((0, 1, 1, 0), (180, 320), (0, 0)),
        ((0, -1, -1, 0), (180, 320), (1, 1)),
    ],
)
def test_a_clip_is_turned_and_mirrored_as_its_display_matrix_says(
    path: Path,
    tmp_path: Path,
    matrix: tuple[int, int, int, int],
    size: tuple[int, int],
    red: tuple[int, int],
) -> None:
    """The quarter that is red, right (1) or left, low (1) or high, tells what the poster shows."""
    content = bytearray(clip(path, corner, 5).read_bytes())
    a, b, c, d = (value << 16 for value in matrix)
    struct.pack_into(">9i", content, box_at(content, b"tkhd") + 40, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    found = probe(path)
    assert (found.width, found.height) == size
    assert check(found, aspect="9:16" if size[0] < size[1] else "16:9") == ()
    make_poster(path, tmp_path / "poster.jpg")
    with Image.open(tmp_path / "poster.jpg") as image:
        assert image.size == size
        quarters = image.resize((2, 2), Image.Resampling.BOX).convert("RGB")
    pixels = {(x, y): quarters.getpixel((x, y)) for x in (0, 1) for y in (0, 1)}
    assert max(pixels, key=lambda place: pixels[place][0]) == red  # type: ignore[index]


@pytest.mark.parametrize(
    ("pixel", "size"), [((4, 3), (427, 180)), ((1, 2), (320, 360)), ((1000, 1), (320, 180))]
)
def test_pixels_that_are_not_square_are_stretched(
    path: Path, tmp_path: Path, pixel: tuple[int, int], size: tuple[int, int]
) -> None:
    found = probe(clip(path, frames=5, aspect="{}:{}".format(*pixel)))
    assert (found.width, found.height) == size
    make_poster(path, tmp_path / "poster.jpg")
    with Image.open(tmp_path / "poster.jpg") as image:
        assert image.size == size


@pytest.mark.parametrize(("start", "seconds"), [(2.5, 1), (0, 2), (1, 3)])
def test_frames_that_an_edit_list_leaves_out_do_not_count(
    path: Path, start: float, seconds: int
) -> None:
    """The clip has one key frame, so a player decodes from its start to show any part."""
    content = bytearray(clip(path, g="1000").read_bytes())
    movie_scale = struct.unpack_from(">I", content, box_at(content, b"mvhd") + 12)[0]
    media_scale = struct.unpack_from(">I", content, box_at(content, b"mdhd") + 12)[0]
    entry = box_at(content, b"elst") + 8
    offset = struct.unpack_from(">i", content, entry + 4)[0] + int(start * media_scale)
    struct.pack_into(">Ii", content, entry, seconds * movie_scale, offset)
    path.write_bytes(content)
    found = probe(path)
    assert found.seconds == pytest.approx(seconds, abs=0.1)
    assert check(found, seconds=seconds) == ()


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
