"""The paid message over a real socket: to its end, broken, refused, aborted."""

import threading
from collections.abc import Iterator

import pytest

from tests.unit.worker.nemo.conftest import TOKEN
from tests.unit.worker.nemo.loopback_server import (
    FIXTURES,
    PATIENCE,
    Handler,
    Reply,
    Server,
    in_json,
)
from tests.unit.worker.nemo.test_events import HEARTBEATS, RECORDED
from worker.nemo.client import NemoClient
from worker.nemo.errors import BadAnswer, NemoError, NoAnswer, SessionNotFound
from worker.nemo.streaming.events import End, Event, Heartbeat, StreamError, Text

ROUTE = "POST /run_sse"
STREAM = {"Content-Type": "text/event-stream; charset=utf-8", "Transfer-Encoding": "chunked"}
HELLO = b'data: {"content":{"parts":[{"text":"hello"}]}}\n\n'


class Streamed:
    """A chunked answer in given pieces, ended or not."""

    def __init__(self, *pieces: bytes, ended: bool = True) -> None:
        self.pieces = pieces
        self.ended = ended

    def __call__(self, handler: Handler) -> None:
        """Write the answer."""
        handler.head(200, STREAM)
        for piece in self.pieces:
            handler.piece(piece)
        if self.ended:
            handler.piece(b"")
        else:
            handler.hang_up()


def follow(client: NemoClient, *, read_timeout: float = PATIENCE) -> list[Event]:
    with client.message("ses", "go", read_timeout=read_timeout) as stream:
        return list(stream)


@pytest.mark.parametrize("name", RECORDED)
def test_recording_over_the_wire(name: str, client: NemoClient, server: Server) -> None:
    wire = (FIXTURES / "run_sse" / f"{name}.sse").read_bytes()
    pieces = [wire[n : n + 97] for n in range(0, len(wire), 97)]
    server.on(ROUTE, Streamed(*pieces))
    assert follow(client) == [*RECORDED[name], End(clean=True)]


def test_heartbeats_over_the_wire(client: NemoClient, server: Server) -> None:
    server.on(ROUTE, Streamed(*HEARTBEATS.values(), HELLO))
    assert follow(client) == [Heartbeat()] * len(HEARTBEATS) + [Text("hello"), End(clean=True)]


def test_skipped_frames_are_counted_at_the_end(client: NemoClient, server: Server) -> None:
    server.on(ROUTE, Streamed(b"data: {\n\n", HELLO, b"data: " + b"x" * 2**21 + b"\n\n"))
    assert follow(client) == [Text("hello"), End(clean=True, skipped=2)]


def test_stream_cut_in_the_middle_ends_unclean(client: NemoClient, server: Server) -> None:
    """Everything that came is delivered, held pieces too; then one unclean End, no exception."""
    partial = b'data: {"partial":true,"content":{"parts":[{"text":"I will"}]}}\n\n'
    server.on(ROUTE, Streamed(HELLO, partial, b'data: {"cont', ended=False))
    *events, end = follow(client)
    assert events == [Text("hello"), Text("I will")]
    assert isinstance(end, End)
    assert not end.clean
    assert end.failure
    assert end.skipped == 1


def test_silence_past_the_read_timeout_ends_unclean(client: NemoClient, server: Server) -> None:
    def stall(handler: Handler) -> None:
        handler.head(200, STREAM)
        handler.piece(HELLO)
        handler.wait_for_the_client_to_leave()

    server.on(ROUTE, stall)
    *events, end = follow(client, read_timeout=0.2)
    assert events == [Text("hello")]
    assert isinstance(end, End)
    assert not end.clean
    assert "ReadTimeout" in (end.failure or "")


def test_broken_encoding_ends_unclean(client: NemoClient, server: Server) -> None:
    def encoded(handler: Handler) -> None:
        handler.head(200, {**STREAM, "Content-Encoding": "gzip"})
        handler.piece(b"not gzip")
        handler.piece(b"")

    server.on(ROUTE, encoded)
    (end,) = follow(client)
    assert isinstance(end, End)
    assert not end.clean


def test_no_answer_in_time_is_maybe_charged(client: NemoClient, server: Server) -> None:
    def mute(handler: Handler) -> None:
        handler.wait_for_the_client_to_leave()

    server.on(ROUTE, mute)
    with pytest.raises(NoAnswer) as caught:
        follow(client, read_timeout=0.2)
    assert caught.value.maybe_charged
    assert not caught.value.repeatable


@pytest.mark.parametrize(
    ("reply", "kind", "charged"),
    [
        (in_json({"detail": "Session not found"}, 404), SessionNotFound, False),
        (in_json({"code": 1002, "message": "no"}), SessionNotFound, False),
        (in_json({"code": 7777, "message": "?"}), NemoError, True),
        (in_json({"hello": "world"}), BadAnswer, True),
        (Reply(b""), BadAnswer, True),
        (Reply(b"<html>", headers={"Content-Type": "text/html"}), BadAnswer, True),
    ],
)
def test_direct_reply(
    reply: Reply, kind: type[NemoError], charged: bool, client: NemoClient, server: Server
) -> None:
    """A failure is raised, a refusal among them; no event of the stream is made of it."""
    server.on(ROUTE, reply)
    with pytest.raises(kind) as caught:
        follow(client)
    assert caught.value.maybe_charged is charged


def test_envelope_of_success_is_an_empty_stream(client: NemoClient, server: Server) -> None:
    server.on(ROUTE, in_json({"code": 0, "message": "success"}))
    assert follow(client) == [End(clean=True)]


def test_envelope_under_the_name_of_a_stream_is_an_error_event(
    client: NemoClient, server: Server
) -> None:
    server.on(ROUTE, Streamed(b'{"code": 2001, "message": "no credits"}'))
    assert follow(client) == [StreamError("no credits", "2001"), End(clean=True)]


def test_token_that_the_stream_says_is_taken_out(client: NemoClient, server: Server) -> None:
    server.on(ROUTE, Streamed(HELLO.replace(b"hello", TOKEN.encode())))
    assert follow(client) == [Text("[token]"), End(clean=True)]


def test_message_has_a_connection_of_its_own(client: NemoClient, server: Server) -> None:
    """A kept connection is not used, so one that is just closing cannot swallow a paid message."""
    ports: list[int] = []

    def note_port(handler: Handler) -> None:
        ports.append(handler.client_address[1])
        in_json({"code": 0, "data": {"available": 1}})(handler)

    server.on("GET /api/credits/balance/simple", note_port)
    server.on(ROUTE, note_port)
    client.credits()
    client.credits()
    follow(client)
    assert ports[0] == ports[1]
    assert ports[2] != ports[1]


@pytest.mark.parametrize("framing", ["chunked", "until closed"])
def test_abort_ends_a_blocked_read(framing: str, client: NemoClient, server: Server) -> None:
    """From another thread, while the server is silent; the End is unclean in either framing."""
    left = threading.Event()

    def stall(handler: Handler) -> None:
        if framing == "chunked":
            handler.head(200, STREAM)
            handler.piece(HELLO)
        else:
            handler.head(200, {"Content-Type": "text/event-stream", "Connection": "close"})
            handler.wfile.write(HELLO)
            handler.wfile.flush()
        handler.wait_for_the_client_to_leave()
        left.set()
        handler.hang_up()

    server.on(ROUTE, stall)
    with client.message("ses", "go", read_timeout=600) as stream:
        events: Iterator[Event] = iter(stream)
        assert next(events) == Text("hello")
        aborting = threading.Thread(target=stream.abort)
        aborting.start()
        (end,) = list(events)
        aborting.join(PATIENCE)
        stream.abort()
    assert end == End(clean=False, failure="given up past the deadline")
    assert left.wait(PATIENCE)


def test_abort_ends_the_wait_for_an_answer(client: NemoClient, server: Server) -> None:
    """The server has the message and has not said a word: entering ends, maybe charged."""
    arrived = threading.Event()

    def mute(handler: Handler) -> None:
        arrived.set()
        handler.wait_for_the_client_to_leave()
        handler.hang_up()

    server.on(ROUTE, mute)
    stream = client.message("ses", "go", read_timeout=600)

    def abort_on_arrival() -> None:
        if arrived.wait(PATIENCE):
            stream.abort()

    aborting = threading.Thread(target=abort_on_arrival)
    aborting.start()
    with pytest.raises(NoAnswer) as caught, stream:
        pass
    aborting.join(PATIENCE)
    assert caught.value.maybe_charged


def test_stream_aborted_before_it_begins_does_not_begin(client: NemoClient, server: Server) -> None:
    server.on(ROUTE, Streamed(HELLO))
    stream = client.message("ses", "go", read_timeout=600)
    stream.abort()
    with pytest.raises(NoAnswer), stream:
        pass


def test_abort_after_the_end_is_harmless(client: NemoClient, server: Server) -> None:
    server.on(ROUTE, Streamed(HELLO))
    with client.message("ses", "go", read_timeout=PATIENCE) as stream:
        assert list(stream) == [Text("hello"), End(clean=True)]
        stream.abort()
    stream.abort()


def test_client_stays_to_the_end_of_the_stream(client: NemoClient, server: Server) -> None:
    """The server can write its last event after a pause; nobody has hung up meanwhile."""
    go_on = threading.Event()
    finished = threading.Event()

    def paused(handler: Handler) -> None:
        handler.head(200, STREAM)
        handler.piece(HELLO)
        go_on.wait(PATIENCE)
        handler.piece(HELLO)
        handler.piece(b"")
        finished.set()

    server.on(ROUTE, paused)
    with client.message("ses", "go", read_timeout=PATIENCE) as stream:
        events = iter(stream)
        assert next(events) == Text("hello")
        go_on.set()
        assert list(events) == [Text("hello"), End(clean=True)]
    assert finished.wait(PATIENCE)
