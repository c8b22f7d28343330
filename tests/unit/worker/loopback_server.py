"""A small HTTP server on loopback that sends scripted responses and records its requests."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.api_responses import recorded_body

PATIENCE = 30.0
"""Seconds after which a wait for an event fails the test."""


@dataclass(frozen=True)
class Request:
    """One request as it was received."""

    method: str
    path: str
    headers: Message
    body: bytes

    def json(self) -> Any:
        """Parse the body."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """A whole response; the given headers override the default ones."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, handler: "Handler") -> None:
        """Write the response."""
        defaults = {"Content-Type": "application/json", "Content-Length": str(len(self.body))}
        handler.head(self.status, {**defaults, **self.headers})
        handler.wfile.write(self.body)


Respond = Callable[["Handler"], None]


def json_reply(found: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Respond with JSON."""
    return Reply(json.dumps(found).encode(), status, headers or {})


def recorded_reply(name: str) -> Reply:
    """Respond with a recording of the API."""
    return Reply(recorded_body(name))


@dataclass
class Server:
    """The responses of the server by method and path, and the requests that it received."""

    url: str = ""
    routes: dict[str, list[Respond]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def on(self, route: str, *responses: Respond) -> None:
        """Respond to ``METHOD /path`` with these in turn, and with the last one from then on."""
        self.routes[route] = list(responses)

    def take(self, request: Request) -> Respond:
        """Record a request and choose its response."""
        self.requests.append(request)
        responses = self.routes.get(f"{request.method} {request.path.partition('?')[0]}")
        if not responses:
            return json_reply({"detail": "Not Found"}, 404)
        return responses.pop(0) if len(responses) > 1 else responses[0]


class Handler(BaseHTTPRequestHandler):
    """Reads a whole request, then lets its response write."""

    protocol_version = "HTTP/1.1"
    server_script: Server

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Write the head of a response."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def piece(self, body: bytes) -> None:
        """Write one piece of a chunked body."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))
        self.wfile.flush()

    def disconnect(self) -> None:
        """Close the connection after this response, whatever its head announced."""
        self.close_connection = True

    def wait_for_disconnect(self) -> None:
        """Block until the client has disconnected."""
        self.connection.settimeout(PATIENCE)
        while self.connection.recv(65_536):
            pass

    def respond(self) -> None:
        """Handle any method."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server_script.take(Request(self.command, self.path, self.headers, body))(self)

    do_GET = respond  # noqa: N815 -- the name that the standard library calls
    do_POST = respond  # noqa: N815 -- the name that the standard library calls

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- inherited name
        """Do not log."""


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: list[socket.socket] = []

    def get_request(self) -> tuple[socket.socket, Any]:
        """Keep each connection."""
        connection, address = super().get_request()
        self._open.append(connection)
        return connection, address

    def cut_all(self) -> None:
        """Close every connection, so that no thread waits for the client of a failed test."""
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors: clients that disconnect early are part of the tests."""


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server until the block ends, and wait for all of its threads."""
    script = Server()
    handler = type("TestHandler", (Handler,), {"server_script": script})
    with _QuietServer(("127.0.0.1", 0), handler) as server:
        script.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            server.cut_all()
            thread.join(PATIENCE)
