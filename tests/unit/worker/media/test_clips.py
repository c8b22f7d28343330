"""Clips: their properties, quality and poster are read from their frames, within limits."""

import hashlib
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from av.audio.stream import AudioStream
from av.stream import Disposition
from av.video.stream import VideoStream
from PIL import Image, ImageStat

from tests.support.clips import RATE, open_encoder, to_frame
from worker.media.clip_frames import BadClip, IncompleteClip
from worker.media.clip_motion import is_black, is_frozen
from worker.media.clip_quality import QualityFinding, check, content_findings
from worker.media.clips import Clip, ClipLook, look_at

Paint = Callable[[int], Image.Image]
QUIET = "log-level=none:pools=1"
RED, BLUE = (220, 30, 30), (30, 30, 220)


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
    """Write a clip of this many frames at 25 frames a second; options as for `open_encoder`."""
    first = paint(0)
    with open_encoder(path, first.size, **options) as write:
        write(first)
        for number in range(1, frames):
            write(paint(number))
    return path


def probe(path: Path) -> Clip:
    """Return the properties of a clip."""
    return look(path).clip


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


@pytest.mark.parametrize("kept", [-8, -2, 0, 1, 40])
def test_a_clip_cut_before_or_within_its_first_frame_is_incomplete(path: Path, kept: int) -> None:
    """Run in a process of its own: decoding without a decoder would end it."""
    whole = clip(path, frames=12).read_bytes()
    path.write_bytes(whole[: whole.index(b"mdat") + 4 + kept])
    program = f"""
from pathlib import Path
from worker.media.clip_frames import IncompleteClip
from worker.media.clips import look_at
try:
    look_at(Path({str(path)!r}), Path({str(path)!r} + ".jpg"))
except IncompleteClip as error:
    print("incomplete")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "incomplete\n"), done.stderr[-2000:]


@pytest.mark.parametrize("frames", [20, 60])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("paint", [moving, still])
def test_frames_that_are_wrongly_listed_as_key_frames_are_not_decoded_alone(
    path: Path, paint: Paint, codec: str, frames: int
) -> None:
    """A file without a list of key frames says that every frame is one."""
    params = {"x265-params": f"{QUIET}:keyint=1000"} if codec == "libx265" else {"g": "1000"}
    content = clip(path, paint, frames, codec=codec, **params).read_bytes()
    path.write_bytes(content.replace(b"stss", b"free"))
    found = look(path)
    assert found.is_frozen == (paint is still)
    with Image.open(path.with_suffix(".jpg")) as image:
        wanted = ImageStat.Stat(moving(40).convert("L")).mean[0]
        assert ImageStat.Stat(image.convert("L")).mean[0] == pytest.approx(wanted, abs=8)


def test_the_cover_picture_of_a_clip_is_not_its_video(path: Path, tmp_path: Path) -> None:
    source = clip(tmp_path / "source.mp4", frames=25)
    with av.open(str(source)) as given, av.open(str(path), "w", format="mp4") as container:
        cover = container.add_stream("mjpeg", rate=1)
        assert isinstance(cover, VideoStream)
        cover.width, cover.height, cover.pix_fmt = 640, 640, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        video = container.add_stream_from_template(given.streams.video[0])
        container.mux(cover.encode(to_frame(Image.new("RGB", (640, 640), RED))))
        for packet in given.demux(given.streams.video[0]):
            if packet.dts is not None:
                packet.stream = video
                container.mux(packet)
        container.mux(cover.encode(None))
    found = look(path)
    assert (found.clip.width, found.clip.codec, found.clip.seconds) == (320, "h264", 1)


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
    assert not path.with_suffix(".jpg").exists()


def test_a_missing_file_is_not_a_bad_clip(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        probe(path)


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
from worker.media.clips import look_at
path, target = Path(sys.argv[1]), Path(sys.argv[1] + ".damaged")
whole = path.read_bytes()
outcomes = set()
for at in range(0, len(whole), max(1, len(whole) // 120)):
    target.write_bytes(whole[:at] + b"\\xff\\xff\\xff\\xff" + whole[at + 4 :])
    try:
        look_at(target, Path(sys.argv[1] + ".jpg"))
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
        ((0, 0, 0, 0), (320, 180), (0, 0)),
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
    look_at(path, tmp_path / "poster.jpg")
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
    look_at(path, tmp_path / "poster.jpg")
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
    look_at(clip(path, large, 50, g="5"), poster)
    with Image.open(poster) as image:
        assert image.format == "JPEG"
        assert image.size == (640, 360)
        # A tenth of 50 frames is frame 5: the bar has moved from 0 to 10 of 320.
        row = image.convert("1", dither=Image.Dither.NONE).crop((0, 180, 640, 181)).tobytes()
    bar = "".join(f"{byte:08b}" for byte in row).index("1")
    assert 16 <= bar <= 24


def test_a_small_clip_is_not_enlarged_for_its_poster(path: Path, tmp_path: Path) -> None:
    look_at(clip(path, frames=1), tmp_path / "poster.jpg")
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
    return tuple(finding.code for finding in content_findings(look(path)))


def look(path: Path) -> ClipLook:
    return look_at(path, path.with_suffix(".jpg"))


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


@pytest.mark.parametrize(
    "options",
    [
        {"g": "1000", "bf": "0"},
        {"g": "1000", "bf": "3"},
        {"g": "25", "bf": "3"},
        {"g": "50", "x264-params": "open-gop=1"},
        {"codec": "libx265", "x265-params": f"{QUIET}:keyint=1000"},
        {"codec": "libx265", "x265-params": f"{QUIET}:keyint=50:open-gop=1"},
    ],
)
def test_few_frames_of_a_moving_clip_are_decoded_whatever_its_length(
    path: Path, options: dict[str, str]
) -> None:
    def passing(number: int) -> Image.Image:
        return moving(number * 2 % 250)

    counts = [look(clip(path, passing, frames, **options)).decoded for frames in (60, 360)]
    assert max(counts) <= 12, counts


@pytest.mark.parametrize("group", ["10000", "25"])
def test_few_frames_of_a_still_clip_are_decoded_whatever_its_length(path: Path, group: str) -> None:
    found = look(clip(path, still, 500, g=group))
    assert found.is_frozen
    assert found.decoded <= 24


def test_the_search_for_motion_ends_where_a_clip_moves(path: Path) -> None:
    """Nothing moves in the first half of the clip; with one key frame, that half is decoded."""
    found = look(clip(path, lambda n: moving(max(0, n - 100)), 400, g="1000"))
    assert not found.is_frozen
    assert found.decoded < 150


def test_the_poster_of_a_clip_that_fades_from_black_is_not_black(path: Path) -> None:
    def fading(number: int) -> Image.Image:
        return Image.blend(black(0), moving(40), min(1, number / 25))

    for group in ("1000", "12"):
        found = look(clip(path, fading, 100, g=group))
        assert not found.is_black
        with Image.open(path.with_suffix(".jpg")) as image:
            assert ImageStat.Stat(image.convert("L")).mean[0] > 30


def test_a_clip_whose_later_frames_are_damaged_is_marked(path: Path) -> None:
    """Its early frames show a clip that can be played in part."""
    content = bytearray(clip(path, still, 200, g="20").read_bytes())
    middle = (content.index(b"mdat") + len(content)) // 2
    content[middle:] = b"\x55" * (len(content) - middle)
    path.write_bytes(content)
    found = look(path)
    assert (found.clip.width, found.clip.seconds) == (320, 8)
    assert [finding.code for finding in content_findings(found)] == ["damaged"]


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
