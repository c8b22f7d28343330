"""A tiny HTTP server on loopback that answers as it is told and remembers what it was asked."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parents[3] / "fixtures"
PATIENCE = 30.0
"""Seconds that a wait on an event may take before the test has failed."""


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: Message
    body: bytes

    def json(self) -> Any:
        """Read the body."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """A whole answer; headers given here win over the ones made up."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, handler: "Handler") -> None:
        """Write the answer."""
        made = {"Content-Type": "application/json", "Content-Length": str(len(self.body))}
        handler.head(self.status, {**made, **self.headers})
        handler.wfile.write(self.body)


Answer = Callable[["Handler"], None]


def in_json(found: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Answer with JSON."""
    return Reply(json.dumps(found).encode(), status, headers or {})


def recorded(name: str) -> Reply:
    """Answer with a recording of the wire."""
    return Reply((FIXTURES / "api" / name).read_bytes())


@dataclass
class Server:
    """What the server will say, by method and path, and what it was asked."""

    url: str = ""
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def on(self, route: str, *answers: Answer) -> None:
        """Answer ``METHOD /path`` with these in turn, and with the last one from then on."""
        self.answers[route] = list(answers)

    def take(self, asked: Asked) -> Answer:
        """Remember a request and choose its answer."""
        self.asked.append(asked)
        answers = self.answers.get(f"{asked.method} {asked.path}")
        if not answers:
            return in_json({"detail": "Not Found"}, 404)
        return answers.pop(0) if len(answers) > 1 else answers[0]


class Handler(BaseHTTPRequestHandler):
    """Reads a request whole, then lets its answer write."""

    protocol_version = "HTTP/1.1"
    told: Server

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Write the head of an answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def piece(self, body: bytes) -> None:
        """Write one piece of a chunked body."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))
        self.wfile.flush()

    def hang_up(self) -> None:
        """Close the connection after this answer, whatever was promised."""
        self.close_connection = True

    def wait_for_the_client_to_leave(self) -> None:
        """Block until the other end is gone."""
        self.connection.settimeout(PATIENCE)
        while self.connection.recv(65_536):
            pass

    def answer(self) -> None:
        """Handle any method."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.told.take(Asked(self.command, self.path, self.headers, body))(self)

    do_GET = answer  # noqa: N815 -- the name the standard library calls
    do_POST = answer  # noqa: N815 -- the name the standard library calls

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- inherited name
        """Stay silent."""


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: list[socket.socket] = []

    def get_request(self) -> tuple[socket.socket, Any]:
        """Remember each connection."""
        connection, address = super().get_request()
        self._open.append(connection)
        return connection, address

    def cut_all(self) -> None:
        """End every connection, so that no thread waits for a client that a failed test left."""
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave in the middle are part of the tests."""


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server until the block ends, and wait for all of its threads."""
    told = Server()
    handler = type("TestHandler", (Handler,), {"told": told})
    with _QuietServer(("127.0.0.1", 0), handler) as server:
        told.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield told
        finally:
            server.shutdown()
            server.cut_all()
            thread.join(PATIENCE)
