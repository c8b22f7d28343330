"""The paid message: sent once, read to the end of its stream.

The server cancels the run when the client disconnects (docs/video-api.md, "The message stream"),
so a stream is closed early only by ``abort``, after the hard deadline.
"""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import httpx

from worker.faultpoints import faultpoint
from worker.nemo.envelope import DONE, envelope_code, read_envelope
from worker.nemo.errors import BadAnswer, Call, Unreachable, sanitize
from worker.nemo.http.transport import (
    CONNECT_SECONDS,
    WRITE_SECONDS,
    describe,
    http_errors,
    open_http,
    read_response,
)
from worker.nemo.streaming.events import End, Event, EventDecoder
from worker.nemo.streaming.sse import SseDecoder

_NOT_A_STREAM = ("text/html", "application/json")


class MessageStream:
    """Sends a message when it is entered, and yields its events, the last of which is an ``End``.

    Use it once, as a context manager, and read it to its ``End``: leaving the block earlier
    closes the connection, and the server cancels work that may be charged.

    The message has a connection of its own. The server might be closing a kept-alive connection
    at that moment, so that it would be unknown whether it received the message. The socket of a new
    connection is also known from the start, so that ``abort`` works while the response is awaited.

    Args:
        url: Where the message is sent.
        headers: Its headers, with the token.
        body: The encoded request.
        read_timeout: The longest silence on the connection, in seconds.
        may_send: Called directly before the first byte. If it returns False, nothing is sent.
        clock: Returns seconds since the epoch.
    """

    def __init__(
        self,
        *,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        read_timeout: float,
        clock: Callable[[], float],
        may_send: Callable[[], bool] = lambda: True,
    ) -> None:
        self._url = url
        self._headers = dict(headers)
        self._body = body
        self._read_timeout = read_timeout
        self._clock = clock
        self._may_send = may_send
        self._http: httpx.Client | None = None
        self._events: Iterator[Event] = iter(())
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._aborted = False

    def __enter__(self) -> Self:
        """Send the message and wait for the head of the response.

        Raises:
            Unreachable: Nothing was sent.
            Refusal: The API refused the message in a direct response.
            NoAnswer: It may have been sent, but no response arrived.
            BadAnswer: The response is neither a stream nor an envelope.
        """
        self._http = open_http(self._url)
        try:
            with faultpoint("api.message"), http_errors(Call.MESSAGE):
                response = self._http.send(self._request(self._http), stream=True)
                self._events = self._read_response(response)
        except BaseException:
            self._http.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        if self._http is not None:
            self._http.close()

    def __iter__(self) -> Iterator[Event]:
        """Return the events as they arrive. A broken connection is an ``End``, not an exception."""
        return self._events

    def abort(self) -> None:
        """End a blocked read from another thread, after the hard deadline. Safe to repeat.

        The outcome of the message is unknown from then on.
        """
        with self._lock:
            self._aborted = True
            if self._socket is not None:
                # An OSError means that it is closed already. An SSLSocket's own shutdown would
                # remove its TLS layer while the reader uses it, so the plain socket's is called.
                with suppress(OSError):
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _request(self, http: httpx.Client) -> httpx.Request:
        return http.build_request(
            "POST",
            self._url,
            headers=self._headers,
            content=self._body,
            timeout=httpx.Timeout(
                connect=CONNECT_SECONDS, read=self._read_timeout, write=WRITE_SECONDS, pool=None
            ),
            extensions={"trace": self._on_trace},
        )

    def _on_trace(self, name: str, info: Mapping[str, Any]) -> None:
        """Keep the socket as soon as it exists, and again once it is wrapped by TLS.

        Raises:
            Unreachable: The message may not be sent any more, and no byte of it was.
        """
        if name.endswith("send_request_headers.started") and not self._may_send():
            raise Unreachable(Call.MESSAGE, "the worker was delayed for too long before sending")
        if not name.endswith(("connect_tcp.complete", "start_tls.complete")):
            return
        with self._lock:
            self._socket = info["return_value"].get_extra_info("socket")
            aborted = self._aborted
        if aborted:
            self.abort()

    def _read_response(self, response: httpx.Response) -> Iterator[Event]:
        """Distinguish a stream from a direct response."""
        content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.is_success and content_type not in _NOT_A_STREAM:
            return self._read_stream(response)
        answer = read_response(Call.MESSAGE, response)
        found = read_envelope(Call.MESSAGE, answer, clock=self._clock)
        if envelope_code(found) != DONE:
            raise BadAnswer(Call.MESSAGE, "neither a stream nor an envelope", status=answer.status)
        return iter([End(clean=True)])

    def _read_stream(self, response: httpx.Response) -> Iterator[Event]:
        decoder, events = SseDecoder(), EventDecoder()
        failure: str | None = None
        try:
            for chunk in response.iter_bytes():
                for frame in decoder.feed(chunk):
                    yield from events.decode(frame)
        except (httpx.TransportError, httpx.DecodingError) as exc:
            failure = sanitize(describe(exc))
        # A response without a length seems to end cleanly when its connection is shut down.
        if self._aborted:
            failure = "aborted after the deadline"
        for frame in decoder.close():
            yield from events.decode(frame)
        yield from events.finish()
        yield End(clean=failure is None, failure=failure, skipped=decoder.dropped + events.skipped)
