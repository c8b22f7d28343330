"""Any JSON, as the response of any call: a result or a refusal, and texts that can be stored."""

import json

import pytest

from tests.soak.answers import check, check_all, large_draft
from tests.support.api_responses import sse, state_envelope, text_event
from worker.nemo.draft import Draft
from worker.nemo.envelope import MAX_DEPTH
from worker.nemo.errors import Call
from worker.nemo.streaming.events import Event, EventDecoder, Text
from worker.nemo.streaming.sse import SseDecoder
from worker.nemo.surrogates import whole_characters


@pytest.mark.long
def test_any_json_of_any_call_is_read_or_refused(seed: int) -> None:
    assert check_all(2000, seed).total() == 2000


def test_a_draft_of_ten_megabytes_is_kept_for_its_export() -> None:
    assert check(Call.STATE, 200, large_draft(10 * 10**6)) == "read"


@pytest.mark.parametrize(("depth", "outcome"), [(MAX_DEPTH - 4, "read"), (990, "BadAnswer")])
def test_a_draft_is_nested_up_to_a_limit(depth: int, outcome: str) -> None:
    """What is accepted can also be written, by a caller with more on its stack."""
    nested = '{"x":' * depth + "1" + "}" * depth
    body = json.dumps(state_envelope(draft={"t": [], "n": None})).replace("null", nested)
    assert check(Call.STATE, 200, body.encode()) == outcome


def test_half_a_surrogate_pair_in_a_draft_is_kept_and_shown_as_a_replacement() -> None:
    """A server that limits a title to so many UTF-16 units cuts an emoji in half."""
    title = "Sunset \ud83d"
    draft = Draft.read({"t": [{"tt": 7, "sg": [{"d": 1000, "m": {"text": title}}]}]})
    assert Draft.unpack(draft.pack()) == draft
    assert draft.timeline() == 'Timeline (1 track): 1. Title: "Sunset �" (0-1s)'


def events_of(*objects: object) -> list[Event]:
    decoder, events = SseDecoder(), EventDecoder()
    found = [event for frame in decoder.feed(sse(*objects)) for event in events.decode(frame)]
    return found + events.finish()


def test_an_emoji_that_is_cut_between_two_pieces_of_a_text_is_whole() -> None:
    halves = [text_event(half, partial=True) for half in ("Done \ud83d", "\ude00")]
    assert events_of(*halves) == [Text("Done 😀")]


def test_half_a_surrogate_pair_in_a_text_is_replaced() -> None:
    assert events_of(text_event("Done \ud83d.")) == [Text("Done �.")]


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("plain é 😀", "plain é 😀"),
        ("\ud83d\ude00", "😀"),
        ("\ude00\ud83d", "��"),
        ("\ud83d\ud83d\ude00", "�😀"),
    ],
)
def test_whole_characters(text: str, whole: str) -> None:
    assert whole_characters(text) == whole
