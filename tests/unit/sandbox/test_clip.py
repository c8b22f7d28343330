"""Rendered clips: format, smoothness of the motion, and title."""

from itertools import pairwise
from pathlib import Path
from threading import Event

import av
import pytest
from PIL import Image, ImageDraw

from sandbox.video.caption import can_draw, make_caption, opacity_at
from sandbox.video.clip import ClipSpec, RenderStoppedError, frame_size, render_clip
from sandbox.video.motion import Aspect, Motion
from sandbox.video.picture import fit, natural_aspect, open_picture

DARK = 40


def spec(picture: Path | None, **changes: object) -> ClipSpec:
    fields = {
        "picture_sha256": "",
        "seconds": 2.0,
        "aspect": None,
        "motion": Motion.PUSH_IN,
        "title": None,
        "short_side": 108,
    }
    return ClipSpec(picture=picture, **{**fields, **changes})  # type: ignore[arg-type]


def lumas(clip: Path) -> list[Image.Image]:
    """Return the luma plane of each frame."""
    with av.open(clip) as container:
        planes = [frame.planes[0] for frame in container.decode(video=0)]
        return [
            Image.frombytes("L", (plane.width, plane.height), bytes(plane), "raw", "L",
                            plane.line_size)
            for plane in planes
        ]  # fmt: skip


def center(luma: Image.Image) -> tuple[float, float]:
    """Return the center of the bright pixels, to a fraction of a pixel."""
    bright = luma.point([max(0, level - 60) for level in range(256)]).tobytes()
    weight = sum(bright)
    rows = [bright[start : start + luma.width] for start in range(0, len(bright), luma.width)]
    across = sum(level * column for row in rows for column, level in enumerate(row) if level)
    down = sum(sum(row) * number for number, row in enumerate(rows))
    return across / weight, down / weight


def dot(tmp_path: Path, at: tuple[int, int] = (1050, 300)) -> Path:
    """Write a picture of a bright dot on a dark background."""
    image = Image.new("RGB", (1600, 900), (8, 8, 8))
    left, top = at
    ImageDraw.Draw(image).ellipse((left - 50, top - 50, left + 50, top + 50), fill="white")
    path = tmp_path / "dot.png"
    image.save(path)
    return path


def bars(width: int, height: int) -> Image.Image:
    image = Image.new("RGB", (width, height), (20, 20, 20))
    draw = ImageDraw.Draw(image)
    for left in range(0, width, 40):
        draw.rectangle((left, 0, left + 19, height), fill=(230, 200, 160))
    return image


@pytest.mark.parametrize(
    ("aspect", "size"),
    [
        (Aspect.LANDSCAPE, (1920, 1080)),
        (Aspect.PORTRAIT, (1080, 1920)),
        (Aspect.SQUARE, (1080, 1080)),
    ],
)
def test_frame_size(aspect: Aspect, size: tuple[int, int]) -> None:
    assert frame_size(aspect, 1080) == size


@pytest.mark.parametrize("aspect", Aspect)
def test_clip_has_the_format_that_players_expect(tmp_path: Path, aspect: Aspect) -> None:
    clip = tmp_path / "clip.mp4"
    render_clip(spec(dot(tmp_path), aspect=aspect, seconds=1.5), clip, Event())
    with av.open(clip) as container:
        (stream,) = container.streams
        assert isinstance(stream, av.VideoStream)
        context = stream.codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == frame_size(aspect, 108)
        assert stream.average_rate == 30
        assert sum(1 for _ in container.decode(stream)) == 45
    content = clip.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "it plays while it loads"
    assert list(tmp_path.glob("*.part")) == []


@pytest.mark.parametrize("motion", Motion)
def test_motion_is_smooth_at_subpixel_scale(tmp_path: Path, motion: Motion) -> None:
    """A crop at whole pixels would stand still and then jump by one pixel."""
    clip = tmp_path / "clip.mp4"
    render_clip(spec(dot(tmp_path), motion=motion, seconds=4.0), clip, Event())
    path = [center(luma) for luma in lumas(clip)]
    for axis in (0, 1):
        steps = [after[axis] - before[axis] for before, after in pairwise(path)]
        jerks = [abs(after - before) for before, after in pairwise(steps)]
        assert max(jerks) < 0.2
        travel = sum(steps)
        assert all(step * travel > -0.02 * abs(travel) for step in steps), "never moves backwards"
    distance = [abs(path[-1][axis] - path[0][axis]) for axis in (0, 1)]
    assert max(distance) > 3


def test_push_in_grows_the_subject_and_pull_out_shrinks_it(tmp_path: Path) -> None:
    areas = {}
    for motion in (Motion.PUSH_IN, Motion.PULL_OUT):
        clip = tmp_path / f"{motion}.mp4"
        render_clip(spec(dot(tmp_path), motion=motion), clip, Event())
        frames = lumas(clip)
        areas[motion] = [sum(frames[end].histogram()[128:]) for end in (0, -1)]
    grown, shrunk = areas[Motion.PUSH_IN], areas[Motion.PULL_OUT]
    assert grown[1] > 1.2 * grown[0]
    assert shrunk[0] > 1.2 * shrunk[1]


def test_circle_stays_a_circle(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    render_clip(spec(dot(tmp_path, (800, 450)), aspect=Aspect.SQUARE), clip, Event())
    box = lumas(clip)[30].point([0] * 128 + [255] * 128).getbbox()
    assert box is not None
    assert abs((box[2] - box[0]) - (box[3] - box[1])) <= 1


def test_portrait_in_landscape_is_shown_whole_over_a_blurred_copy() -> None:
    fitted = fit(bars(450, 800), 320, 180).convert("L")
    middle = fitted.crop((110, 0, 210, 180)).getextrema()
    side = fitted.crop((0, 60, 40, 120)).getextrema()
    assert middle[1] - middle[0] > 100  # type: ignore[operator]
    assert side[1] - side[0] < DARK  # type: ignore[operator]


def test_picture_of_a_similar_aspect_ratio_is_cropped() -> None:
    fitted = fit(bars(1200, 800), 320, 180).convert("L")
    edge = fitted.crop((0, 60, 40, 120)).getextrema()
    assert edge[1] - edge[0] > 100  # type: ignore[operator]


@pytest.mark.parametrize(
    ("size", "aspect"),
    [
        ((1600, 900), Aspect.LANDSCAPE),
        ((900, 1600), Aspect.PORTRAIT),
        ((1000, 1000), Aspect.SQUARE),
        ((3000, 2000), Aspect.LANDSCAPE),
    ],
)
def test_natural_aspect(size: tuple[int, int], aspect: Aspect) -> None:
    assert natural_aspect(*size) is aspect


def test_picture_is_rotated_upright_and_flattened(tmp_path: Path) -> None:
    turned = Image.new("RGBA", (300, 200), (255, 0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    opened = open_picture(tmp_path / "turned.png", 1000)
    assert (opened.size, opened.mode) == ((200, 300), "RGB")
    assert max(opened.getpixel((5, 5))) < DARK  # type: ignore[arg-type]


def test_title_fades_in_and_out(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    render_clip(spec(None, title="Urban Dreams", seconds=4.0, short_side=180), clip, Event())
    frames = lumas(clip)
    lower = (0, 120, 320, 180)
    white = [sum(frames[at].crop(lower).histogram()[215:]) for at in (0, 45, 110)]
    assert white[0] < white[1] / 10
    assert white[2] < white[1] / 10
    assert white[1] > 100


def test_long_title_stays_within_the_frame() -> None:
    caption = make_caption("A very long title that would never fit on one line " * 2, 320, 180)
    assert caption.left >= 0
    assert caption.left + caption.letters.width <= 320
    assert caption.top + caption.letters.height <= 180


def test_text_with_letters_that_the_font_lacks() -> None:
    assert can_draw("Café Dreams")
    assert not can_draw("城市")


def test_opacity() -> None:
    assert [opacity_at(moment, 3.0) for moment in (0.0, 1.5, 3.0, 9.0)] == [0.0, 1.0, 0.0, 0.0]


def test_equal_specs_have_equal_keys(tmp_path: Path) -> None:
    one = spec(tmp_path / "a", picture_sha256="x")
    assert one.key == spec(tmp_path / "b", picture_sha256="x").key
    assert one.key != spec(tmp_path / "a", picture_sha256="x", seconds=3.0).key


def test_rendering_stops_immediately(tmp_path: Path) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(RenderStoppedError):
        render_clip(spec(dot(tmp_path)), tmp_path / "clip.mp4", stop)
    assert [path.name for path in tmp_path.iterdir()] == ["dot.png"]
