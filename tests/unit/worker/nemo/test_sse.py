"""The byte decoder: same frames however the bytes are cut, bounded, linear."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from httpx_sse import EventSource
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.worker.nemo.loopback_server import FIXTURES
from worker.nemo.streaming.sse import Comment, Frame, SseDecoder

RECORDINGS = sorted((FIXTURES / "run_sse").glob("*.sse"))


def decode(*chunks: bytes) -> list[Frame | Comment]:
    decoder = SseDecoder()
    frames = [frame for chunk in chunks for frame in decoder.feed(chunk)]
    return frames + decoder.close()


def single_bytes(wire: bytes) -> Iterator[bytes]:
    return (wire[n : n + 1] for n in range(len(wire)))


def second_opinion(wire: bytes) -> list[tuple[str, str]]:
    """Name and data of the events with data, as ``httpx-sse`` reads them.

    Its known differences, none of which the video API's stream depends on:

    - it does not take off a byte order mark, so none is generated;
    - it drops an event that no blank line ends, so the wire is ended with one;
    - it gives an event at every blank line once an ``id`` was seen, and events with a name or a
      ``retry`` but no data, so only events that carry data are compared.
    """
    response = httpx.Response(
        200, headers={"content-type": "text/event-stream"}, content=wire + b"\n\n"
    )
    return [(event.event, event.data) for event in EventSource(response).iter_sse() if event.data]


def first_opinion(wire: bytes) -> list[tuple[str, str]]:
    frames = [frame for frame in decode(wire) if isinstance(frame, Frame)]
    # Its events are named "message" where the wire names none.
    return [(frame.event or "message", frame.data) for frame in frames if frame.data]


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
def test_recording_cut_anywhere_reads_the_same(recording: Path) -> None:
    """A recording cut at every byte into two pieces, and into single bytes, gives its frames."""
    wire = recording.read_bytes()
    whole = decode(wire)
    assert len(whole) == wire.count(b"\n\n")
    for cut in range(len(wire) + 1):
        assert decode(wire[:cut], wire[cut:]) == whole, f"cut at byte {cut}"
    assert decode(*single_bytes(wire)) == whole


@pytest.mark.parametrize("line_end", [b"\r", b"\r\n"], ids=["cr", "crlf"])
@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
def test_recording_with_other_line_ends_reads_the_same(recording: Path, line_end: bytes) -> None:
    wire = recording.read_bytes()
    other = wire.replace(b"\n", line_end)
    whole = decode(wire)
    assert decode(other) == whole
    assert decode(*single_bytes(other)) == whole


def test_crlf_in_every_cut_is_one_line_end() -> None:
    """Two carriage-return-line-feeds end one event, cut between the halves or not."""
    wire = b"data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n"
    for cut in range(len(wire) + 1):
        assert decode(wire[:cut], b"", wire[cut:]) == [Frame("", "a\nb"), Frame("", "c")]


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
def test_recording_agrees_with_second_opinion(recording: Path) -> None:
    wire = recording.read_bytes()
    assert first_opinion(wire) == second_opinion(wire)


_PIECES = st.sampled_from(
    [
        b"data", b"data:", b"data: ", b"data:  two spaces", b"event: named", b"id: 7", b"retry: 9",
        b"retry: soon", b": comment", b":", b"unknown: field", b"no field at all", b" data: x",
        "data: \u20ac\U0001f600 \u2028\u0085\x0b".encode(), b"data: \xe2\x82", b"data: \xff",
        b'data: {"a": 1}', b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\x00", b"",
    ]
)  # fmt: skip


@given(st.lists(_PIECES, max_size=40), st.randoms(use_true_random=False))
def test_generated_stream_agrees_with_second_opinion(
    pieces: list[bytes], shuffle: random.Random
) -> None:
    """Streams made of awkward pieces: same data events, and the same in any cuts."""
    wire = b"".join(pieces)
    assert first_opinion(wire) == second_opinion(wire)
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
        (b": ping\n", [Comment(" ping")]),
        (b"data: a\n: ping\ndata: b\n\n", [Comment(" ping"), Frame("", "a\nb")]),
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
def test_form(wire: bytes, frames: list[Frame | Comment]) -> None:
    """Each form of the wire, whole and byte by byte."""
    assert decode(wire) == frames
    assert decode(*single_bytes(wire)) == frames


def test_multi_byte_character_across_chunks_is_one_character() -> None:
    wire = "data: 导出 🎬\n\n".encode()
    for cut in range(len(wire) + 1):
        assert decode(wire[:cut], wire[cut:]) == [Frame("", "导出 🎬")]


def test_frames_come_as_soon_as_they_are_complete() -> None:
    """Neither a comment nor an event waits for what follows it."""
    decoder = SseDecoder()
    assert decoder.feed(b": ping\r") == [Comment(" ping")]
    assert decoder.feed(b"\ndata: a\r\r") == [Frame("", "a")]
    assert decoder.feed(b"data: b\n\n") == [Frame("", "b")]
    assert decoder.close() == []


def test_line_over_the_cap_drops_its_event_alone() -> None:
    decoder = SseDecoder(max_line=16)
    frames = decoder.feed(b"data: 0123456789\n\ndata: 0123456789x\ndata: y\n\ndata: z\n\n")
    assert frames == [Frame("", "0123456789"), Frame("", "z")]
    assert decoder.dropped == 1


@pytest.mark.parametrize("field", [b"data: 0123456789\n", b"rest 0123456789\n", b"data\n"])
def test_event_over_the_cap_is_dropped_alone(field: bytes) -> None:
    """Many short lines count together; afterwards the stream reads on."""
    decoder = SseDecoder(max_line=32, max_event=100)
    largest = 0
    for _ in range(200):
        assert decoder.feed(field) == []
        largest = max(largest, decoder.buffered)
    assert largest <= 132
    assert decoder.feed(b"\ndata: z\n\n") == [Frame("", "z")]
    assert decoder.dropped == 1


def test_overlong_last_line_is_counted_at_the_end() -> None:
    decoder = SseDecoder(max_line=8)
    assert decoder.feed(b"data: 0123456789") == []
    assert decoder.close() == []
    assert decoder.dropped == 1


def test_gigabyte_line_stays_bounded() -> None:
    """A line of a gigabyte, in pieces: never more than one line is held, and reading goes on."""
    decoder = SseDecoder()
    piece = b"x" * 2**20
    largest = 0
    decoder.feed(b"data: ")
    for _ in range(1024):
        decoder.feed(piece)
        largest = max(largest, decoder.buffered)
    assert largest <= 2**20
    assert decoder.feed(b"\n\ndata: after\n\n") == [Frame("", "after")]
    assert decoder.dropped == 1


def test_time_is_linear_in_single_bytes() -> None:
    """Eight times the bytes of one line take about eight times as long.

    Searching the line anew at each byte would take sixty-four times as long.
    """

    def seconds(count: int) -> float:
        decoder = SseDecoder()
        began = time.process_time()
        for _ in range(count):
            decoder.feed(b"x")
        return time.process_time() - began

    short = min(seconds(20_000) for _ in range(3))
    long = min(seconds(160_000) for _ in range(3))
    assert long / short < 24
