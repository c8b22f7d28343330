"""A web site on loopback that answers as it is told, and a socket that only listens."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LOOPBACK = "127.0.0.1"
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(100_000)


@dataclass
class Site:
    """A web site on loopback and what it was asked."""

    port: int = 0
    hosts: list[str] = field(default_factory=list)
    answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)

    @property
    def netloc(self) -> str:
        """Host and port."""
        return f"{LOOPBACK}:{self.port}"

    def url(self, path: str, host: str = LOOPBACK) -> str:
        """The address of a page."""
        return f"http://{host}:{self.port}{path}"


def picture(handler: BaseHTTPRequestHandler) -> None:
    """Answer with the picture."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(PICTURE)))
    handler.end_headers()
    handler.wfile.write(PICTURE)


def endless(handler: BaseHTTPRequestHandler) -> None:
    """Answer for ever, without telling how long."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(bytes(1000))


def half(handler: BaseHTTPRequestHandler) -> None:
    """Hang up in the middle."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(PICTURE)))
    handler.end_headers()
    handler.wfile.write(PICTURE[:50_000])


def huge(handler: BaseHTTPRequestHandler) -> None:
    """Announce too much."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(10**9))
    handler.end_headers()


def status(number: int) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answer with a status and nothing else."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(number)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def redirect(location: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """Point somewhere else."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", location)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


@contextmanager
def running_site() -> Iterator[Site]:
    """A running web site, ended when it is left."""
    found = Site(answers={"/a.png": picture, "/endless": endless, "/half": half, "/huge": huge})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.hosts.append(self.headers["Host"])
            answer = found.answers.get(self.path.split("?")[0], status(404))
            try:
                answer(self)
            except OSError:
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            """Say nothing."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    found.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join(30)
        server.server_close()


@contextmanager
def listener(answer: bytes = b"") -> Iterator[tuple[int, list[bytes]]]:
    """A socket that hears one greeting, answers, and hangs up."""
    heard: list[bytes] = []
    with socket.create_server((LOOPBACK, 0)) as server:
        server.settimeout(30)

        def listen() -> None:
            connection, _ = server.accept()
            with connection:
                heard.append(connection.recv(4096))
                connection.sendall(answer)

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield server.getsockname()[1], heard
        finally:
            thread.join(30)
