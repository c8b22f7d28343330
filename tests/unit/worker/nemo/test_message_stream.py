"""The paid message over a real socket: complete, broken, refused, aborted."""

import threading
from collections.abc import Iterator

import pytest

from tests.support.api_responses import HELLO, STREAMS, envelope, sse, text_event
from tests.unit.worker.loopback_server import (
    PATIENCE,
    Handler,
    Reply,
    Server,
    json_reply,
)
from tests.unit.worker.nemo.conftest import TOKEN
from tests.unit.worker.nemo.stream_samples import HEARTBEATS, RECORDED
from worker.nemo.client import NemoClient
from worker.nemo.errors import BadAnswer, NemoError, NoAnswer, SessionNotFound
from worker.nemo.streaming.events import End, Event, Heartbeat, StreamError, Text

ROUTE = "POST /run_sse"
STREAM = {"Content-Type": "text/event-stream; charset=utf-8", "Transfer-Encoding": "chunked"}


class Streamed:
    """A chunked response in given pieces, ended or cut off."""

    def __init__(self, *pieces: bytes, ended: bool = True) -> None:
        self.pieces = pieces
        self.ended = ended

    def __call__(self, handler: Handler) -> None:
        """Write the response."""
        handler.head(200, STREAM)
        for piece in self.pieces:
            handler.piece(piece)
        if self.ended:
            handler.piece(b"")
        else:
            handler.disconnect()


def read_stream(client: NemoClient, *, read_timeout: float = PATIENCE) -> list[Event]:
    with client.message("ses", "go", read_timeout=read_timeout) as stream:
        return list(stream)


@pytest.mark.parametrize("name", RECORDED)
def test_recording_over_a_socket(name: str, client: NemoClient, server: Server) -> None:
    wire = STREAMS[name]
    pieces = [wire[n : n + 97] for n in range(0, len(wire), 97)]
    server.on(ROUTE, Streamed(*pieces))
    assert read_stream(client) == [*RECORDED[name], End(clean=True)]


def test_heartbeats_over_a_socket(client: NemoClient, server: Server) -> None:
    server.on(ROUTE, Streamed(*HEARTBEATS.values(), HELLO))
    assert read_stream(client) == [Heartbeat()] * len(HEARTBEATS) + [Text("hello"), End(clean=True)]


def test_skipped_frames_are_counted_at_the_end(client: NemoClient, server: Server) -> None:
    server.on(ROUTE, Streamed(b"data: {\n\n", HELLO, b"data: " + b"x" * 2**21 + b"\n\n"))
    assert read_stream(client) == [Text("hello"), End(clean=True, skipped=2)]


def test_stream_that_is_cut_off_does_not_end_cleanly(client: NemoClient, server: Server) -> None:
    """All received events, held pieces too, then one unclean End and no exception."""
    partial = sse(text_event("I will", partial=True))
    server.on(ROUTE, Streamed(HELLO, partial, b'data: {"cont', ended=False))
    *events, end = read_stream(client)
    assert events == [Text("hello"), Text("I will")]
    assert isinstance(end, End)
    assert not end.clean
    assert end.failure
    assert end.skipped == 1


def test_read_timeout_does_not_end_cleanly(client: NemoClient, server: Server) -> None:
    def stall(handler: Handler) -> None:
        handler.head(200, STREAM)
        handler.piece(HELLO)
        handler.wait_for_disconnect()

    server.on(ROUTE, stall)
    *events, end = read_stream(client, read_timeout=3)
    assert events == [Text("hello")]
    assert isinstance(end, End)
    assert not end.clean
    assert "ReadTimeout" in (end.failure or "")


def test_broken_encoding_does_not_end_cleanly(client: NemoClient, server: Server) -> None:
    def encoded(handler: Handler) -> None:
        handler.head(200, {**STREAM, "Content-Encoding": "gzip"})
        handler.piece(b"not gzip")
        handler.piece(b"")

    server.on(ROUTE, encoded)
    (end,) = read_stream(client)
    assert isinstance(end, End)
    assert not end.clean


def test_no_response_in_time_is_maybe_charged(client: NemoClient, server: Server) -> None:
    def mute(handler: Handler) -> None:
        handler.wait_for_disconnect()

    server.on(ROUTE, mute)
    with pytest.raises(NoAnswer) as caught:
        read_stream(client, read_timeout=0.2)
    assert caught.value.maybe_charged
    assert not caught.value.repeatable


@pytest.mark.parametrize(
    ("reply", "kind", "charged"),
    [
        (json_reply({"detail": "Session not found"}, 404), SessionNotFound, False),
        (json_reply({"code": 1002, "message": "no"}), SessionNotFound, False),
        (json_reply({"code": 7777, "message": "?"}), NemoError, True),
        (json_reply({"hello": "world"}), BadAnswer, True),
        (Reply(b""), BadAnswer, True),
        (Reply(b"<html>", headers={"Content-Type": "text/html"}), BadAnswer, True),
    ],
)
def test_direct_response(
    reply: Reply, kind: type[NemoError], charged: bool, client: NemoClient, server: Server
) -> None:
    """Every error and refusal is raised, not turned into an event."""
    server.on(ROUTE, reply)
    with pytest.raises(kind) as caught:
        read_stream(client)
    assert caught.value.maybe_charged is charged


def test_success_envelope_is_an_empty_stream(client: NemoClient, server: Server) -> None:
    server.on(ROUTE, json_reply({"code": 0, "message": "success"}))
    assert read_stream(client) == [End(clean=True)]


def test_envelope_in_a_stream_is_an_error_event(client: NemoClient, server: Server) -> None:
    server.on(ROUTE, Streamed(b'{"code": 2001, "message": "no credits"}'))
    assert read_stream(client) == [StreamError("no credits", "2001"), End(clean=True)]


def test_token_in_the_stream_is_removed(client: NemoClient, server: Server) -> None:
    server.on(ROUTE, Streamed(HELLO.replace(b"hello", TOKEN.encode())))
    assert read_stream(client) == [Text("[token]"), End(clean=True)]


def test_message_has_a_connection_of_its_own(client: NemoClient, server: Server) -> None:
    """A kept-alive connection is not used, so one that is closing cannot lose a paid message."""
    ports: list[int] = []

    def note_port(handler: Handler) -> None:
        ports.append(handler.client_address[1])
        json_reply(envelope(available=1))(handler)

    server.on("GET /api/credits/balance/simple", note_port)
    server.on(ROUTE, note_port)
    client.credits()
    client.credits()
    read_stream(client)
    assert ports[0] == ports[1]
    assert ports[2] != ports[1]


@pytest.mark.parametrize("framing", ["chunked", "until closed"])
def test_abort_ends_a_blocked_read(framing: str, client: NemoClient, server: Server) -> None:
    """From another thread while the server is silent; the End is unclean in either framing."""
    disconnected = threading.Event()

    def stall(handler: Handler) -> None:
        if framing == "chunked":
            handler.head(200, STREAM)
            handler.piece(HELLO)
        else:
            handler.head(200, {"Content-Type": "text/event-stream", "Connection": "close"})
            handler.wfile.write(HELLO)
            handler.wfile.flush()
        handler.wait_for_disconnect()
        disconnected.set()
        handler.disconnect()

    server.on(ROUTE, stall)
    with client.message("ses", "go", read_timeout=600) as stream:
        events: Iterator[Event] = iter(stream)
        assert next(events) == Text("hello")
        aborting = threading.Thread(target=stream.abort)
        aborting.start()
        (end,) = list(events)
        aborting.join(PATIENCE)
        stream.abort()
    assert end == End(clean=False, failure="aborted after the deadline")
    assert disconnected.wait(PATIENCE)


def test_abort_ends_the_wait_for_a_response(client: NemoClient, server: Server) -> None:
    """The server has received the message and does not respond: maybe charged."""
    arrived = threading.Event()

    def mute(handler: Handler) -> None:
        arrived.set()
        handler.wait_for_disconnect()
        handler.disconnect()

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


def test_stream_that_was_aborted_before_it_is_entered_does_not_start(
    client: NemoClient, server: Server
) -> None:
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


def test_client_stays_connected_to_the_end_of_the_stream(
    client: NemoClient, server: Server
) -> None:
    """The server writes its last event after a pause, and the client is still connected."""
    proceed = threading.Event()
    finished = threading.Event()

    def paused(handler: Handler) -> None:
        handler.head(200, STREAM)
        handler.piece(HELLO)
        proceed.wait(PATIENCE)
        handler.piece(HELLO)
        handler.piece(b"")
        finished.set()

    server.on(ROUTE, paused)
    with client.message("ses", "go", read_timeout=PATIENCE) as stream:
        events = iter(stream)
        assert next(events) == Text("hello")
        proceed.set()
        assert list(events) == [Text("hello"), End(clean=True)]
    assert finished.wait(PATIENCE)
