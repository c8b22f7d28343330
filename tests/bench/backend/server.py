"""The HTTP/1.1 server of the backend: as little as its clients need, on bare asyncio protocols."""

import asyncio
from typing import Final, cast

from tests.bench.backend.api import CLOSING, HEARTBEAT, OPENING, Answer, Api

STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
LAST_CHUNK: Final = b"0\r\n\r\n"
HEAD_END: Final = b"\r\n\r\n"


class Connection(asyncio.Protocol):
    """One connection. Requests must have a Content-Length, or no body.

    Args:
        api: What answers.
        stream_seconds: The duration of a message's stream.
        heartbeat_seconds: The interval of its heartbeats.
    """

    def __init__(self, api: Api, stream_seconds: float, heartbeat_seconds: float) -> None:
        self._api = api
        self._stream_seconds = stream_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._needed = 0
        self._timer: asyncio.TimerHandle | None = None
        self._stream_ends = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Forget a stream whose client has gone away."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._api.close_stream()

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        self._received += data
        while len(self._received) >= self._needed and self._answered_one():
            pass

    def _answered_one(self) -> bool:
        end = self._received.find(HEAD_END)
        if end < 0:
            return False
        start = end + len(HEAD_END)
        head = self._received[:end].decode("latin-1")
        self._needed = start + _content_length(head)
        if len(self._received) < self._needed:
            return False
        body = bytes(self._received[start : self._needed])
        del self._received[: self._needed]
        self._needed = 0
        method, path, _ = head.split(" ", 2)
        answer = self._api.answer(method, path, body, self._loop.time())
        if answer is None:
            self._open_stream(body)
        else:
            self._send(answer)
        return True

    def _send(self, answer: Answer) -> None:
        head = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
        self._transport.write(
            head % (answer.status, answer.media_type, len(answer.body)) + answer.body
        )

    def _open_stream(self, body: bytes) -> None:
        self._api.open_stream(body)
        if self._stream_seconds <= 0:
            self._api.close_stream()
            self._transport.write(STREAM_HEAD + _chunk(OPENING + CLOSING) + LAST_CHUNK)
            return
        self._transport.write(STREAM_HEAD + _chunk(OPENING))
        self._stream_ends = self._loop.time() + self._stream_seconds
        self._schedule()

    def _schedule(self) -> None:
        left = self._stream_ends - self._loop.time()
        self._timer = self._loop.call_later(min(left, self._heartbeat_seconds), self._go_on)

    def _go_on(self) -> None:
        if self._loop.time() < self._stream_ends:
            self._transport.write(_chunk(HEARTBEAT))
            self._schedule()
            return
        self._timer = None
        self._api.close_stream()
        self._transport.write(_chunk(CLOSING) + LAST_CHUNK)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _content_length(head: str) -> int:
    _, found, rest = head.lower().partition("\r\ncontent-length:")
    return int(rest.partition("\r\n")[0]) if found else 0
