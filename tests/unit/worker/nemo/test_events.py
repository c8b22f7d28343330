"""Frames to events: recordings, heartbeats, partial texts, errors, and JSON that is none."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.worker.nemo.loopback_server import FIXTURES
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

WORK: list[Event] = [
    Text("I will animate the photo with a slow push-in."),
    ToolActivity("generate_video"),
    ToolActivity("generate_video"),
    Text("Adding music."),
    ToolActivity("edit_multitrack_draft"),
    ToolActivity("edit_multitrack_draft"),
]
RECORDED: dict[str, list[Event]] = {
    "plain": [*WORK, Text("Your clip is ready: a 10 second push-in with Lo-fi music.")],
    "silent": [event for event in WORK if isinstance(event, ToolActivity)],
    "gui": [
        *WORK,
        Text(
            "Your clip is ready: a 10 second push-in with Lo-fi music. Click the Export button to "
            "download it, or open the Timeline panel to preview in timeline. "
            "点击“导出”按钮即可下载。"
        ),
    ],
    "question": [WORK[0], Text("Which length do you want: 5, 10 or 15 seconds?")],
    "trailing": [
        *WORK,
        Text("Your clip is ready."),
        Text("I encountered a temporary issue. Please try again later."),
    ],
    "crash": [
        Text("Starting on your photo."),
        StreamError("RuntimeError: render backend unavailable", "RuntimeError"),
    ],
    "quota": [*WORK, StreamError("Out of quota", "RESOURCE_EXHAUSTED")],
}
HEARTBEATS = {
    "empty data line": b"data:\n\n",
    "empty data line and a space": b"data: \n\n",
    "data": b"data: heartbeat\n\n",
    "event": b"event: heartbeat\n\n",
    "event with data": b'event: heartbeat\ndata: {"at": 1}\n\n',
    "event with the word": b"event: heartbeat\ndata: heartbeat\n\n",
    "comment": b": heartbeat\n\n",
}


def read(*chunks: bytes) -> tuple[list[Event], int]:
    """Decode a stream to its end: the events, and how many frames were skipped."""
    frames, events = SseDecoder(), EventDecoder()
    found = [e for chunk in chunks for frame in frames.feed(chunk) for e in events.decode(frame)]
    found += [e for frame in frames.close() for e in events.decode(frame)]
    return found + events.finish(), events.skipped


def wire(*objects: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(found).encode() + b"\n\n" for found in objects)


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"content": {"parts": [{"text": text}], "role": "model"}, **more}


def recording(name: str) -> bytes:
    return (FIXTURES / "run_sse" / f"{name}.sse").read_bytes()


@pytest.mark.parametrize("name", RECORDED)
def test_recording_cut_anywhere_gives_its_events(name: str) -> None:
    """Each recording, whole, cut at every byte into two pieces, and in single bytes."""
    stream = recording(name)
    expected = (RECORDED[name], 0)
    assert read(stream) == expected
    for cut in range(len(stream) + 1):
        assert read(stream[:cut], stream[cut:]) == expected, f"cut at byte {cut}"
    assert read(*(stream[n : n + 1] for n in range(len(stream)))) == expected


@pytest.mark.parametrize("beat", HEARTBEATS.values(), ids=HEARTBEATS.keys())
@pytest.mark.parametrize("name", RECORDED)
def test_heartbeats_between_events_change_nothing_else(name: str, beat: bytes) -> None:
    """A heartbeat before each event and at the end: one Heartbeat each, the rest untouched."""
    stream = recording(name)
    count = stream.count(b"\n\n") + 1
    events, skipped = read(beat + stream.replace(b"\n\n", b"\n\n" + beat))
    assert events.count(Heartbeat()) == count
    assert [event for event in events if event != Heartbeat()] == RECORDED[name]
    assert skipped == 0


@pytest.mark.parametrize("beat", [b"data:\n", b"data: heartbeat\n", b": ping\n"])
def test_heartbeat_line_without_blank_line_spoils_no_event(beat: bytes) -> None:
    events, skipped = read(beat + wire(said("hello")).replace(b"\n\n", b"\n" + beat + b"\n"))
    assert set(events) == {Heartbeat(), Text("hello")}
    assert skipped == 0


def test_heartbeat_event_that_carries_work_is_both() -> None:
    assert read(b"event: heartbeat\n" + wire(said("hello"))) == ([Heartbeat(), Text("hello")], 0)


def test_partial_text_without_its_whole_comes_at_the_end() -> None:
    """Pieces that the stream's end cut off from their whole are delivered once, joined."""
    stream = wire(said("I will ", partial=True), said("animate", partial=True))
    assert read(stream) == ([Text("I will animate")], 0)


def test_partial_text_survives_a_tool_call_until_its_whole() -> None:
    call = {"content": {"parts": [{"functionCall": {"name": "f"}}]}}
    stream = wire(said("one ", partial=True), call, said("one two"))
    assert read(stream) == ([ToolActivity("f"), Text("one two")], 0)


def test_earlier_pieces_without_a_whole_are_not_lost_to_a_later_whole() -> None:
    stream = wire(said("First. ", partial=True), said("Second.", partial=True), said("Second."))
    assert read(stream) == ([Text("First. "), Text("Second.")], 0)


def test_held_pieces_are_bounded() -> None:
    piece = said("x" * 1000, partial=True)
    events, _ = read(wire(*[piece] * 200))
    assert [len(event.text) for event in events if isinstance(event, Text)] == [
        MAX_HELD_CHARACTERS // 1000 * 1000
    ]


def test_thoughts_are_left_out_beside_a_text() -> None:
    parts = [{"text": "hm", "thought": True}, {"text": "yes "}, {"text": "sir"}]
    assert read(wire({"content": {"parts": parts}})) == ([Text("yes sir")], 0)


@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_blank_text_is_no_text(blank: str) -> None:
    assert read(wire(said(blank))) == ([], 0)


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
def test_spelling(found: dict[str, Any], event: Event) -> None:
    """Names in camelCase and snake_case, and the shapes an error comes in."""
    assert read(wire(found)) == ([event], 0)


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
def test_objects_that_say_nothing(found: dict[str, Any]) -> None:
    """Readable, not skipped, and no event: among them the ordinary stop of an empty reply."""
    assert read(wire(found)) == ([], 0)


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
def test_error_of_an_older_server_is_an_error_although_not_json(
    stream: bytes, message: str
) -> None:
    """Quotes and newlines that were not escaped, in one line or over several."""
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
def test_frame_that_is_no_object_is_skipped_and_counted(broken: bytes) -> None:
    """Broken JSON, JSON of another kind, JSON bombs: the events around them are read."""
    stream = wire(said("before")) + b"data: " + broken + b"\n\n" + wire(said("after"))
    assert read(stream) == ([Text("before"), Text("after")], 1)


def test_bare_envelope_under_the_name_of_a_stream_is_an_error() -> None:
    stream = (FIXTURES / "api" / "error_enveloped.json").read_bytes()
    assert read(stream) == ([StreamError("insufficient credits", "2001")], 0)


def test_tokens_are_taken_out_of_texts_and_errors() -> None:
    """Also a token that came in pieces."""
    token = "nmv_usr_secret"
    events, _ = read(
        wire(
            said(f"your token is {token} ok"),
            {"error": f"bad token {token}"},
            said("nmv_us", partial=True),
            said("r_secret", partial=True),
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
def test_no_shape_of_json_raises(objects: list[Any]) -> None:
    """Whatever stands in the known places; the only frames skipped are those without an object."""
    _, skipped = read(wire(*objects))
    assert skipped <= sum(not isinstance(found, dict) for found in objects)
