"""Decoding frames to events: recordings, heartbeats, partial texts, errors, invalid JSON."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.api_responses import STREAMS, recorded_body, sse, text_event
from tests.unit.worker.nemo.stream_samples import HEARTBEATS, RECORDED
from worker.nemo.streaming.events import (
    MAX_HELD_CHARACTERS,
    Event,
    EventDecoder,
    Heartbeat,
    StreamError,
    Text,
    ToolActivity,
)
from worker.nemo.streaming.sse import SseDecoder

STRIDE = 17
"""Bytes between two cuts of a whole recording."""


def read(*chunks: bytes) -> tuple[list[Event], int]:
    """Decode a stream to its end: the events, and how many frames were skipped."""
    frames, events = SseDecoder(), EventDecoder()
    found = [e for chunk in chunks for frame in frames.feed(chunk) for e in events.decode(frame)]
    found += [e for frame in frames.close() for e in events.decode(frame)]
    return found + events.finish(), events.skipped


@pytest.mark.parametrize("name", RECORDED)
def test_recording_cut_anywhere_gives_its_events(name: str) -> None:
    """Each recording: whole, cut in two at many places, and in single bytes."""
    stream = STREAMS[name]
    expected = (RECORDED[name], 0)
    assert read(stream) == expected
    for cut in range(0, len(stream) + 1, STRIDE):
        assert read(stream[:cut], stream[cut:]) == expected, f"cut at byte {cut}"
    assert read(*(stream[n : n + 1] for n in range(len(stream)))) == expected


@pytest.mark.parametrize("name", RECORDED)
def test_an_event_cut_at_any_byte_is_read_as_a_whole_with_the_next_one(name: str) -> None:
    parts = STREAMS[name].split(b"\n\n")
    for number, part in enumerate(parts):
        pair = b"\n\n".join(parts[number : number + 2])
        expected = read(pair)
        for cut in range(min(len(part) + 3, len(pair) + 1)):
            assert read(pair[:cut], pair[cut:]) == expected, f"event {number}, byte {cut}"


@pytest.mark.parametrize("beat", HEARTBEATS.values(), ids=HEARTBEATS.keys())
@pytest.mark.parametrize("name", RECORDED)
def test_heartbeats_between_events_do_not_change_the_events(name: str, beat: bytes) -> None:
    """A heartbeat before each event and at the end gives one Heartbeat each."""
    stream = STREAMS[name]
    count = stream.count(b"\n\n") + 1
    events, skipped = read(beat + stream.replace(b"\n\n", b"\n\n" + beat))
    assert events.count(Heartbeat()) == count
    assert [event for event in events if event != Heartbeat()] == RECORDED[name]
    assert skipped == 0


@pytest.mark.parametrize("beat", [b"data:\n", b"data: heartbeat\n", b": ping\n"])
def test_heartbeat_line_without_a_blank_line_does_not_break_the_event(beat: bytes) -> None:
    events, skipped = read(beat + sse(text_event("hello")).replace(b"\n\n", b"\n" + beat + b"\n"))
    assert set(events) == {Heartbeat(), Text("hello")}
    assert skipped == 0


def test_heartbeat_event_with_data_is_both() -> None:
    assert read(b"event: heartbeat\n" + sse(text_event("hello"))) == (
        [Heartbeat(), Text("hello")],
        0,
    )


def test_partial_text_without_its_whole_is_given_at_the_end() -> None:
    """Pieces whose whole text never arrived are given once, joined."""
    stream = sse(text_event("I will ", partial=True), text_event("animate", partial=True))
    assert read(stream) == ([Text("I will animate")], 0)


def test_partial_text_is_held_across_a_tool_call() -> None:
    call = {"content": {"parts": [{"functionCall": {"name": "f"}}]}}
    stream = sse(text_event("one ", partial=True), call, text_event("one two"))
    assert read(stream) == ([ToolActivity("f"), Text("one two")], 0)


def test_earlier_pieces_without_a_whole_are_kept_beside_a_later_whole() -> None:
    stream = sse(
        text_event("First. ", partial=True),
        text_event("Second.", partial=True),
        text_event("Second."),
    )
    assert read(stream) == ([Text("First. "), Text("Second.")], 0)


def test_held_pieces_are_limited() -> None:
    piece = text_event("x" * 1000, partial=True)
    events, _ = read(sse(*[piece] * 200))
    assert [len(event.text) for event in events if isinstance(event, Text)] == [
        MAX_HELD_CHARACTERS // 1000 * 1000
    ]


def test_thoughts_are_left_out() -> None:
    parts = [{"text": "hm", "thought": True}, {"text": "yes "}, {"text": "sir"}]
    assert read(sse({"content": {"parts": parts}})) == ([Text("yes sir")], 0)


@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_blank_text_is_ignored(blank: str) -> None:
    assert read(sse(text_event(blank))) == ([], 0)


@pytest.mark.parametrize(
    ("found", "event"),
    [
        ({"content": {"parts": [{"function_call": {"name": "f"}}]}}, ToolActivity("f")),
        ({"content": {"parts": [{"function_response": {"name": "f"}}]}}, ToolActivity("f")),
        ({"content": {"parts": [{"functionCall": {}}]}}, ToolActivity("")),
        ({"content": {"parts": [{"functionCall": "odd"}]}}, ToolActivity("")),
        ({"error_code": "X", "error_message": "no"}, StreamError("no", "X")),
        ({"errorCode": "SAFETY"}, StreamError("SAFETY", "SAFETY")),
        ({"errorCode": 429, "errorMessage": "slow"}, StreamError("slow", "429")),
        ({"errorMessage": "no"}, StreamError("no")),
        ({"error": "boom"}, StreamError("boom")),
        ({"error": {"message": "boom", "code": 1}}, StreamError("boom")),
        ({"error": "boom", "errorDetails": {"errorType": "T"}}, StreamError("boom", "T")),
        ({"error": True}, StreamError("True")),
        ({"code": 2001, "message": "insufficient"}, StreamError("insufficient", "2001")),
        ({"code": "1001", "message": "expired"}, StreamError("expired", "1001")),
    ],
)
def test_names_and_shapes_of_events(found: dict[str, Any], event: Event) -> None:
    """Names in camelCase and snake_case, and the shapes an error comes in."""
    assert read(sse(found)) == ([event], 0)


@pytest.mark.parametrize(
    "found",
    [
        {"errorCode": "STOP"},
        {"code": 0, "message": "success"},
        {"error": None},
        {"error": ""},
        {"content": None},
        {"content": []},
        {"content": {"parts": None}},
        {"content": {"parts": {"text": "x"}}},
        {"content": {"parts": [None, 1, "x", {"text": 7}, {"text": None}]}},
        {},
    ],
)
def test_objects_without_an_event(found: dict[str, Any]) -> None:
    """Not skipped, and no event: among them the ordinary stop of an empty reply."""
    assert read(sse(found)) == ([], 0)


RAW = 'File "app.py", line 3\nKeyError: \'x\'\ndata: more: "quoted"'


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (b'data: {"error": "he said "no" loudly"}\n\n', 'he said "no" loudly'),
        (b'data: {"error": "cut off', "cut off"),
        (b'data: { "error" :"a "b""}\n\n', 'a "b"'),
        (b"data: {\"error\": RuntimeError('x')}\n\n", "RuntimeError('x')"),
        (
            b'data: {"error": "' + RAW.encode() + b'"}\n\n',
            'File "app.py", line 3 more: "quoted""} KeyError: \'x\'',
        ),
        (b'data: {"error": "line one\nline two"}\n\n', "line one line two"),
        (b'data: {"error": "line one\ndata: line two"}\n\n', "line one line two"),
        (b'data: {"error": "line one\n\nline two"}\n\n', "line one"),
    ],
)
def test_unescaped_error_of_an_older_server_is_an_error(stream: bytes, message: str) -> None:
    """Quotes and newlines that were not escaped, on one line or several."""
    assert read(stream) == ([StreamError(message)], 0)
    assert read(*(stream[n : n + 1] for n in range(len(stream)))) == ([StreamError(message)], 0)


@pytest.mark.parametrize(
    "broken",
    [
        b"{",
        b'{"content": ',
        b"[1, 2]",
        b'"text"',
        b"7",
        b"null",
        b"nonsense",
        b"{'content': 1}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a": ' + b"9" * 10_000 + b"}",
        b'{"a": "\xff',
    ],
    ids=lambda broken: broken[:12].decode("ascii", "replace"),
)
def test_frame_without_an_object_is_skipped_and_counted(broken: bytes) -> None:
    """Broken JSON, JSON of another type, JSON bombs: the events around them are read."""
    stream = sse(text_event("before")) + b"data: " + broken + b"\n\n" + sse(text_event("after"))
    assert read(stream) == ([Text("before"), Text("after")], 1)


def test_bare_envelope_in_a_stream_is_an_error() -> None:
    stream = recorded_body("error_enveloped.json")
    assert read(stream) == ([StreamError("insufficient credits", "2001")], 0)


def test_tokens_are_removed_from_texts_and_errors() -> None:
    """Also a token that arrived in pieces."""
    token = "nmv_usr_secret"
    events, _ = read(
        sse(
            text_event(f"your token is {token} ok"),
            {"error": f"bad token {token}"},
            text_event("nmv_us", partial=True),
            text_event("r_secret", partial=True),
        )
    )
    assert events == [
        Text("your token is [token] ok"),
        StreamError("bad token [token]"),
        Text("[token]"),
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["content", "parts", "text", "partial", "thought", "functionCall", "name",
                         "error", "errorCode", "errorMessage", "error_details", "code", "message"]),
        inner,
    ),
    max_leaves=20,
)  # fmt: skip


@given(st.lists(JSON, max_size=5))
def test_no_json_raises(objects: list[Any]) -> None:
    """Any values of the known fields; only frames without an object are skipped."""
    _, skipped = read(sse(*objects))
    assert skipped <= sum(not isinstance(found, dict) for found in objects)
