"""The paid message: sent once, read to its end.

The server cancels the run when its client goes away (contract, "The message stream"), so the
stream is never closed early but by ``abort``, past the hard deadline.
"""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import httpx

from worker.faultpoints import around
from worker.nemo.envelope import DONE, envelope_code, read_envelope
from worker.nemo.errors import BadAnswer, Call, sanitize
from worker.nemo.http.transport import (
    CONNECT_SECONDS,
    WRITE_SECONDS,
    describe,
    http_errors,
    read_response,
)
from worker.nemo.streaming.events import End, Event, EventDecoder
from worker.nemo.streaming.sse import SseDecoder

_NOT_A_STREAM = ("text/html", "application/json")


class MessageStream:
    """Sends a message on entering, gives its events, and ends with exactly one ``End``.

    Use it once, as a context manager, and read it to its ``End``: leaving the block earlier
    closes the connection, and the server gives up work that may be charged.

    The message travels on a connection of its own. A kept connection may be closing at its other
    end, and then nobody knows whether the message was read; and the socket of a new one is known
    from its first moment, so that ``abort`` works while the answer is still awaited.

    Args:
        open_http: Opens the HTTP client that is used for this message alone.
        url: Where the message goes.
        headers: Its headers, the token among them.
        body: The encoded request.
        read_timeout: The longest silence on the connection, in seconds.
        clock: Now, in seconds since the epoch.
    """

    def __init__(
        self,
        open_http: Callable[[], httpx.Client],
        *,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        read_timeout: float,
        clock: Callable[[], float],
    ) -> None:
        self._open_http = open_http
        self._url = url
        self._headers = dict(headers)
        self._body = body
        self._read_timeout = read_timeout
        self._clock = clock
        self._http: httpx.Client | None = None
        self._events: Iterator[Event] = iter(())
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._aborted = False

    def __enter__(self) -> Self:
        """Send the message and wait for the head of its answer.

        Raises:
            Unreachable: Nothing was sent.
            Refusal: The message was refused as a direct reply.
            NoAnswer: It may have been sent, but no answer came.
            BadAnswer: The answer is neither a stream nor an envelope.
        """
        self._http = self._open_http()
        try:
            with around("api.message"), http_errors(Call.MESSAGE):
                response = self._http.send(self._request(self._http), stream=True)
                self._events = self._answer(response)
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
        """Give the events as they arrive; a broken connection is an ``End``, not an exception."""
        return self._events

    def abort(self) -> None:
        """End a blocked read from another thread, past the hard deadline only; safe to repeat.

        The outcome of the message is unknown from then on.
        """
        with self._lock:
            self._aborted = True
            if self._socket is not None:
                # Closed already is as good as shut down. A TLS socket's own method would take its
                # TLS away from under the reader, so the plain socket's is called.
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
        """Learn the socket as soon as there is one, and again when TLS has wrapped it."""
        if not name.endswith(("connect_tcp.complete", "start_tls.complete")):
            return
        with self._lock:
            self._socket = info["return_value"].get_extra_info("socket")
            aborted = self._aborted
        if aborted:
            self.abort()

    def _answer(self, response: httpx.Response) -> Iterator[Event]:
        """Tell a stream from a direct reply."""
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.is_success and kind not in _NOT_A_STREAM:
            return self._follow(response)
        answer = read_response(Call.MESSAGE, response)
        found = read_envelope(Call.MESSAGE, answer, clock=self._clock)
        if envelope_code(found) != DONE:
            raise BadAnswer(Call.MESSAGE, "neither a stream nor an envelope", status=answer.status)
        return iter([End(clean=True)])

    def _follow(self, response: httpx.Response) -> Iterator[Event]:
        decoder, events = SseDecoder(), EventDecoder()
        failure: str | None = None
        try:
            for chunk in response.iter_bytes():
                for frame in decoder.feed(chunk):
                    yield from events.decode(frame)
        except (httpx.TransportError, httpx.DecodingError) as exc:
            failure = sanitize(describe(exc))
        # A connection without a length looks like a clean end when it is shut down.
        if self._aborted:
            failure = "given up past the deadline"
        for frame in decoder.close():
            yield from events.decode(frame)
        yield from events.finish()
        yield End(clean=failure is None, failure=failure, skipped=decoder.dropped + events.skipped)
