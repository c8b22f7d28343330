"""The byte decoder: the same frames for any cuts, bounded memory, linear time."""

import random
import time
from collections.abc import Iterator

import httpx
import pytest
from httpx_sse import EventSource
from hypothesis import given
from hypothesis import strategies as st

from tests.soak.streams import held_bytes
from tests.support.api_responses import STREAMS
from worker.nemo.streaming.sse import Comment, Frame, SseDecoder


def decode(*chunks: bytes) -> list[Frame | Comment]:
    decoder = SseDecoder()
    frames = [frame for chunk in chunks for frame in decoder.feed(chunk)]
    return frames + decoder.close()


def single_bytes(wire: bytes) -> Iterator[bytes]:
    return (wire[n : n + 1] for n in range(len(wire)))


def reference_decode(wire: bytes) -> list[tuple[str, str]]:
    """Return name and data of the events with data, as ``httpx-sse`` reads them.

    Its known differences, none of which matters for the video API's stream:

    - it does not remove a byte order mark, so none is generated;
    - it drops an event without a blank line after it, so the input is ended with one;
    - it gives an event at every blank line after an ``id``, and events with a name or a ``retry``
      but no data, so only events with data are compared.
    """
    response = httpx.Response(
        200, headers={"content-type": "text/event-stream"}, content=wire + b"\n\n"
    )
    return [(event.event, event.data) for event in EventSource(response).iter_sse() if event.data]


def decode_data(wire: bytes) -> list[tuple[str, str]]:
    frames = [frame for frame in decode(wire) if isinstance(frame, Frame)]
    # The reference names an event "message" where the input names none.
    return [(frame.event or "message", frame.data) for frame in frames if frame.data]


@pytest.mark.parametrize("name", STREAMS)
def test_recording_cut_anywhere_reads_the_same(name: str) -> None:
    """A recording cut in two at every byte, and in single bytes, gives the same frames."""
    wire = STREAMS[name]
    whole = decode(wire)
    assert len(whole) == wire.count(b"\n\n")
    for cut in range(len(wire) + 1):
        assert decode(wire[:cut], wire[cut:]) == whole, f"cut at byte {cut}"
    assert decode(*single_bytes(wire)) == whole


@pytest.mark.parametrize("line_end", [b"\r", b"\r\n"], ids=["cr", "crlf"])
@pytest.mark.parametrize("name", STREAMS)
def test_recording_with_other_line_ends_reads_the_same(name: str, line_end: bytes) -> None:
    wire = STREAMS[name]
    other = wire.replace(b"\n", line_end)
    whole = decode(wire)
    assert decode(other) == whole
    assert decode(*single_bytes(other)) == whole


def test_crlf_is_one_line_end_for_any_cut() -> None:
    """Two CRLF end one event, cut inside a CRLF or not."""
    wire = b"data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n"
    for cut in range(len(wire) + 1):
        assert decode(wire[:cut], b"", wire[cut:]) == [Frame("", "a\nb"), Frame("", "c")]


@pytest.mark.parametrize("name", STREAMS)
def test_recording_agrees_with_the_reference(name: str) -> None:
    wire = STREAMS[name]
    assert decode_data(wire) == reference_decode(wire)


_PIECES = st.sampled_from(
    [
        b"data", b"data:", b"data: ", b"data:  two spaces", b"event: named", b"id: 7", b"retry: 9",
        b"retry: soon", b": comment", b":", b"unknown: field", b"no field at all", b" data: x",
        "data: \u20ac\U0001f600 \u2028\u0085\x0b".encode(), b"data: \xe2\x82", b"data: \xff",
        b'data: {"a": 1}', b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\x00", b"",
    ]
)  # fmt: skip


@given(st.lists(_PIECES, max_size=40), st.randoms(use_true_random=False))
def test_generated_stream_agrees_with_the_reference(
    pieces: list[bytes], shuffle: random.Random
) -> None:
    """Streams of special cases: the same data events, and the same for any cuts."""
    wire = b"".join(pieces)
    assert decode_data(wire) == reference_decode(wire)
    cuts = sorted(shuffle.randrange(len(wire) + 1) for _ in range(5))
    chunks = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert decode(*chunks) == decode(wire)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_raise_and_cut_anywhere_read_the_same(wire: bytes) -> None:
    assert decode(*single_bytes(wire)) == decode(wire)


@pytest.mark.parametrize(
    ("wire", "frames"),
    [
        (b"data: a\n\n", [Frame("", "a")]),
        (b"data:a\n\n", [Frame("", "a")]),
        (b"data:  a\n\n", [Frame("", " a")]),
        (b"data: a\ndata: b\n\n", [Frame("", "a\nb")]),
        (b"data\n\n", [Frame("", "")]),
        (b"data:\n\n", [Frame("", "")]),
        (b"event: heartbeat\n\n", [Frame("heartbeat", None)]),
        (b"event: x\ndata: a\n\n", [Frame("x", "a")]),
        (b"id: 1\nretry: 10\ndata: a\n\n", [Frame("", "a")]),
        (b"id: 1\n\n", []),
        (b": ping\n", [Comment()]),
        (b"data: a\n: ping\ndata: b\n\n", [Comment(), Frame("", "a\nb")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Frame("", "a")]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [Frame("", "a"), Frame("", None, "\ufeffdata: b")]),
        (b"data: \xff\xe2\x82\n\n", [Frame("", "\ufffd\ufffd")]),
        (b"data: a\nrest: of it\n\n", [Frame("", "a", "rest: of it")]),
        (b"data: a", [Frame("", "a")]),
        (b"data: a\n", [Frame("", "a")]),
        (b"data: a\r", [Frame("", "a")]),
        (b"\n\n\n", []),
        (b"", []),
    ],
)
def test_each_form_of_a_frame(wire: bytes, frames: list[Frame | Comment]) -> None:
    """Each form, whole and byte by byte."""
    assert decode(wire) == frames
    assert decode(*single_bytes(wire)) == frames


def test_multi_byte_character_across_chunks_is_one_character() -> None:
    wire = "data: 导出 🎬\n\n".encode()
    for cut in range(len(wire) + 1):
        assert decode(wire[:cut], wire[cut:]) == [Frame("", "导出 🎬")]


def test_frames_are_given_as_soon_as_they_are_complete() -> None:
    """Neither a comment nor an event waits for the next bytes."""
    decoder = SseDecoder()
    assert decoder.feed(b": ping\r") == [Comment()]
    assert decoder.feed(b"\ndata: a\r\r") == [Frame("", "a")]
    assert decoder.feed(b"data: b\n\n") == [Frame("", "b")]
    assert decoder.close() == []


def test_line_over_the_limit_drops_only_its_event() -> None:
    decoder = SseDecoder(max_line=16)
    frames = decoder.feed(b"data: 0123456789\n\ndata: 0123456789x\ndata: y\n\ndata: z\n\n")
    assert frames == [Frame("", "0123456789"), Frame("", "z")]
    assert decoder.dropped == 1


@pytest.mark.parametrize("field", [b"data: 0123456789\n", b"rest 0123456789\n", b"data\n"])
def test_event_over_the_limit_is_dropped_alone(field: bytes) -> None:
    """Many short lines count together; later events are read."""
    decoder = SseDecoder(max_line=32, max_event=100)
    largest = 0
    for _ in range(200):
        assert decoder.feed(field) == []
        largest = max(largest, held_bytes(decoder))
    assert largest <= 132
    assert decoder.feed(b"\ndata: z\n\n") == [Frame("", "z")]
    assert decoder.dropped == 1


def test_overlong_last_line_is_counted_at_the_end() -> None:
    decoder = SseDecoder(max_line=8)
    assert decoder.feed(b"data: 0123456789") == []
    assert decoder.close() == []
    assert decoder.dropped == 1


def test_gigabyte_line_uses_bounded_memory() -> None:
    """A line of a gigabyte in pieces: at most one line is held, and later events are read."""
    decoder = SseDecoder()
    piece = b"x" * 2**20
    largest = 0
    decoder.feed(b"data: ")
    for _ in range(1024):
        decoder.feed(piece)
        largest = max(largest, held_bytes(decoder))
    assert largest <= 2**20
    assert decoder.feed(b"\n\ndata: after\n\n") == [Frame("", "after")]
    assert decoder.dropped == 1


def test_time_is_linear_in_single_bytes() -> None:
    """Eight times the bytes of one line take about eight times as long.

    Searching the whole line again at each byte would take sixty-four times as long.
    """

    def seconds(count: int) -> float:
        decoder = SseDecoder()
        start = time.process_time()
        for _ in range(count):
            decoder.feed(b"x")
        return time.process_time() - start

    short = min(seconds(20_000) for _ in range(3))
    long = min(seconds(160_000) for _ in range(3))
    assert long / short < 24
