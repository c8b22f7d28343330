"""Black and frozen clips, and posters, from few frames."""

from pathlib import Path

import pytest
from PIL import Image, ImageStat

from tests.unit.worker.media.clip_samples import QUIET, Paint, black, clip, inspected, moving, still
from worker.media.clip_motion import is_black, is_frozen
from worker.media.clip_quality import content_findings
from worker.media.clips import inspect_clip


def test_a_poster_is_a_small_jpeg_of_an_early_frame(path: Path, tmp_path: Path) -> None:
    def large(number: int) -> Image.Image:
        return moving(number * 2).resize((1280, 720))

    poster = tmp_path / "poster.jpg"
    inspect_clip(clip(path, large, 50, g="5"), poster)
    with Image.open(poster) as image:
        assert image.format == "JPEG"
        assert image.size == (640, 360)
        # A tenth of 50 frames is frame 5: the bar has moved from 0 to 10 of 320.
        row = image.convert("1", dither=Image.Dither.NONE).crop((0, 180, 640, 181)).tobytes()
    bar = "".join(f"{byte:08b}" for byte in row).index("1")
    assert 16 <= bar <= 24


def test_a_small_clip_is_not_enlarged_for_its_poster(path: Path, tmp_path: Path) -> None:
    inspect_clip(clip(path, frames=1), tmp_path / "poster.jpg")
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
    return tuple(finding.code for finding in content_findings(inspected(path)))


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

    counts = [inspected(clip(path, passing, frames, **options)).decoded for frames in (60, 360)]
    assert max(counts) <= 12, counts


@pytest.mark.parametrize("group", ["10000", "25"])
def test_few_frames_of_a_still_clip_are_decoded_whatever_its_length(path: Path, group: str) -> None:
    found = inspected(clip(path, still, 500, g=group))
    assert found.is_frozen
    assert found.decoded <= 24


def test_the_search_for_motion_ends_where_a_clip_moves(path: Path) -> None:
    """Nothing moves in the first half of the clip; with one key frame, that half is decoded."""
    found = inspected(clip(path, lambda n: moving(max(0, n - 100)), 400, g="1000"))
    assert not found.is_frozen
    assert found.decoded < 150


def test_the_poster_of_a_clip_that_fades_from_black_is_not_black(path: Path) -> None:
    def fading(number: int) -> Image.Image:
        return Image.blend(black(0), moving(40), min(1, number / 25))

    for group in ("1000", "12"):
        found = inspected(clip(path, fading, 100, g=group))
        assert not found.is_black
        with Image.open(path.with_suffix(".jpg")) as image:
            assert ImageStat.Stat(image.convert("L")).mean[0] > 30


def test_a_clip_whose_later_frames_are_damaged_is_marked(path: Path) -> None:
    """Its early frames show a clip that can be played in part."""
    content = bytearray(clip(path, still, 200, g="20").read_bytes())
    middle = (content.index(b"mdat") + len(content)) // 2
    content[middle:] = b"\x55" * (len(content) - middle)
    path.write_bytes(content)
    found = inspected(path)
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
