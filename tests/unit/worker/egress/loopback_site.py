"""Pages of a web site on loopback, and a socket that only records what it receives."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.unit.worker.loopback_server import Handler, Reply, Server, serving

LOOPBACK = "127.0.0.1"
IMAGE = b"\x89PNG\r\n\x1a\n" + bytes(100_000)


class Site:
    """A web site on loopback."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.netloc = server.url.removeprefix("http://")
        self.port = int(self.netloc.rpartition(":")[2])

    @property
    def hosts(self) -> list[str]:
        """The Host header of each request."""
        return [request.headers["Host"] for request in self.server.requests]

    def url(self, path: str, host: str = LOOPBACK) -> str:
        """Return the address of a page."""
        return f"http://{host}:{self.port}{path}"

    def redirect(self, path: str, location: str) -> None:
        """Redirect a page to another address."""
        self.server.on(f"GET {path}", Reply(b"", 302, {"Location": location}))


def endless(handler: Handler) -> None:
    """Send data without an end."""
    handler.head(200, {"Connection": "close"})
    with suppress(OSError):
        while True:
            handler.wfile.write(bytes(1000))


def half(handler: Handler) -> None:
    """Disconnect in the middle of the body."""
    handler.head(200, {"Content-Length": str(len(IMAGE))})
    handler.wfile.write(IMAGE[:50_000])
    handler.disconnect()


@contextmanager
def running_site() -> Iterator[Site]:
    """Run a web site until the block ends."""
    with serving() as server:
        server.on("GET /a.png", Reply(IMAGE))
        server.on("GET /endless", endless)
        server.on("GET /half", half)
        server.on("GET /huge", Reply(b"", headers={"Content-Length": str(10**9)}))
        yield Site(server)


@contextmanager
def listener(answer: bytes = b"") -> Iterator[tuple[int, list[bytes]]]:
    """Run a socket that receives once, answers and disconnects."""
    received: list[bytes] = []
    with socket.create_server((LOOPBACK, 0)) as server:
        server.settimeout(30)

        def listen() -> None:
            connection, _ = server.accept()
            with connection:
                received.append(connection.recv(4096))
                connection.sendall(answer)

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield server.getsockname()[1], received
        finally:
            thread.join(30)
