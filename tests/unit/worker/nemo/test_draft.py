"""The draft: its timeline, its readiness and length, and no shape of it that raises."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.api_responses import recorded
from worker.nemo.draft import Draft


def recorded_draft(name: str) -> Draft:
    return Draft.read(recorded(name)["data"]["state"]["draft"])


def track(tt: Any, *segments: Any) -> dict[str, Any]:
    return {"tt": tt, "sg": list(segments)}


def segment(d: Any = 1000, **m: Any) -> dict[str, Any]:
    return {"d": d, "m": m}


def show(*tracks: Any) -> str:
    return Draft({"t": list(tracks)}).timeline().partition(": 1. ")[2]


def test_recorded_draft_is_shown_as_documented() -> None:
    draft = recorded_draft("state_after.json")
    assert draft.timeline() == (
        "Timeline (3 tracks): 1. Video: city timelapse (0-10s) "
        '2. BGM: Lo-fi (0-10s, 35%) 3. Title: "Urban Dreams" (0-3s)'
    )
    assert draft.is_ready
    assert draft.seconds == 10


def test_empty_draft_is_not_ready() -> None:
    draft = recorded_draft("state_before.json")
    assert (draft.is_ready, draft.seconds, draft.timeline()) == (False, 0, "Timeline (0 tracks)")


@pytest.mark.parametrize(
    ("tracks", "ready"),
    [([], False), ([track(0)], False), ([track(1), track(0, segment())], True), ([{}], False)],
)
def test_ready_needs_one_track_with_a_segment(tracks: list[Any], ready: bool) -> None:
    assert Draft({"t": tracks}).is_ready is ready


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (track(0, segment(2000, name="a"), segment(3500, name="b")), "Video: a, b (0-5.5s)"),
        (track(0, segment(name="a"), segment(name="a")), "Video: a (0-2s)"),
        (track(0, segment(title="t", text="x")), "Video: t (0-1s)"),
        (track(0, segment()), "Video (0-1s)"),
        (track(0), "Video (empty)"),
        (track(7, segment(text="a\n b")), 'Title: "a b" (0-1s)'),
        (track(1, segment(name="m", volume="0.5")), "BGM: m (0-1s, 50%)"),
        (track(1, segment(name="m", volume=0)), "BGM: m (0-1s, 0%)"),
        (track(1, segment(name="m", volume=35)), "BGM: m (0-1s)"),
        (track(1, segment(name="m", volume=True)), "BGM: m (0-1s)"),
        (track(5, segment(name="x")), "Track: x (0-1s)"),
        (track("0", segment(name="x")), "Video: x (0-1s)"),
        (track(None, segment("100000")), "Track (0-100s)"),
        (track(0, segment(-5, name="x"), None, 7), "Video: x (empty)"),
        (track(0, {"d": 1000, "m": "odd"}), "Video (0-1s)"),
        (track(0, segment(name="x" * 500)), "Video: " + "x" * 79 + "… (0-1s)"),
    ],
)
def test_track_in_the_timeline(shown: dict[str, Any], expected: str) -> None:
    assert show(shown) == expected


def test_one_track_is_singular() -> None:
    assert Draft({"t": [track(0)]}).timeline() == "Timeline (1 track): 1. Video (empty)"


def test_length_is_that_of_the_video_not_of_the_music() -> None:
    assert Draft({"t": [track(1, segment(60_000)), track(0, segment(5000))]}).seconds == 5
    assert Draft({"t": [track(1, segment(60_000)), track(7, segment(5000))]}).seconds == 60


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["t", "tt", "sg", "d", "m", "name", "text", "volume"]), inner
    ),
    max_leaves=30,
)  # fmt: skip


@given(JSON)
def test_no_shape_raises(found: Any) -> None:
    draft = Draft.read(found)
    assert isinstance(draft.is_ready, bool)
    assert draft.seconds >= 0
    assert draft.timeline().startswith("Timeline (")
