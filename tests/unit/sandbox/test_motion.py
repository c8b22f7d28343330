"""The requested clip that is read from a prompt, and the path of the camera."""

from itertools import pairwise

import pytest

from sandbox.video.motion import Aspect, ClipRequest, Motion, parse_prompt, window_at


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("extend this image into a 10-second video with smooth motion", 10.0),
        ("a 15 s clip", 15.0),
        ("5 seconds of rain", 5.0),
        ("2.5 sec loop", 2.5),
        ("生成10秒视频", 10.0),
        ("900 seconds", 60.0),
        ("0.1 s", 1.0),
        ("3 streets at night", None),
        ("smooth motion", None),
    ],
)
def test_length(text: str, seconds: float | None) -> None:
    assert parse_prompt(text).seconds == seconds


@pytest.mark.parametrize(
    ("text", "aspect"),
    [
        ("in 16:9", Aspect.LANDSCAPE),
        ("as 9:16 please", Aspect.PORTRAIT),
        ("1:1 for the feed", Aspect.SQUARE),
        ("a vertical video", Aspect.PORTRAIT),
        ("Portrait mode", Aspect.PORTRAIT),
        ("square crop", Aspect.SQUARE),
        ("横屏", Aspect.LANDSCAPE),
        ("竖屏", Aspect.PORTRAIT),
        ("at 11:15 in the morning", None),
    ],
)
def test_aspect(text: str, aspect: Aspect | None) -> None:
    assert parse_prompt(text).aspect == aspect


@pytest.mark.parametrize(
    ("text", "motion"),
    [
        ("slow push-in on the face", Motion.PUSH_IN),
        ("zoom in", Motion.PUSH_IN),
        ("zooming out", Motion.PULL_OUT),
        ("pull back slowly", Motion.PULL_OUT),
        ("pan left", Motion.PAN_LEFT),
        ("panning to the right", Motion.PAN_RIGHT),
        ("tilt up", Motion.PAN_UP),
        ("pan down", Motion.PAN_DOWN),
        ("smooth motion", None),
    ],
)
def test_motion(text: str, motion: Motion | None) -> None:
    assert parse_prompt(text).motion == motion


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ('with the title "Urban Dreams"', "Urban Dreams"),
        ("titled 'Rain'", "Rain"),
        ("标题「城市」", "城市"),
        ("a “quoted” word", None),
    ],
)
def test_title(text: str, title: str | None) -> None:
    assert parse_prompt(text).title == title


def test_later_request_overrides_an_earlier_one() -> None:
    first = parse_prompt("10 seconds, vertical, pan left")
    assert parse_prompt("make it 5 seconds").with_defaults(first) == ClipRequest(
        seconds=5.0, aspect=Aspect.PORTRAIT, motion=Motion.PAN_LEFT
    )


@pytest.mark.parametrize("motion", Motion)
def test_camera_stays_inside_and_starts_and_ends_at_rest(motion: Motion) -> None:
    path = [window_at(motion, step / 300) for step in range(301)]
    for window in path:
        assert window.width == window.height, "the picture is not stretched"
        assert window.left >= 0
        assert window.top >= 0
        assert window.left + window.width <= 1 + 1e-9
        assert window.top + window.height <= 1 + 1e-9
    travel = [
        abs(after.left - before.left)
        + abs(after.top - before.top)
        + abs(after.width - before.width)
        for before, after in pairwise(path)
    ]
    assert max(travel[0], travel[-1]) < max(travel) / 20
