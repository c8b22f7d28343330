"""A server that answers like an old Redis, or any other: no such server can be installed here."""

import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class _Session(socketserver.StreamRequestHandler):
    """One connection, on which each command is answered."""

    server: Any

    def handle(self) -> None:
        """Read commands until the client disconnects."""
        while line := self.rfile.readline():
            words = []
            for _ in range(int(line[1:])):
                length = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(length + 2)[:-2])
            self.wfile.write(self._answer(words[0].upper()))

    def _answer(self, command: bytes) -> bytes:
        if command == b"PING":
            return b"+PONG\r\n"
        if command in (b"SELECT", b"AUTH"):
            return b"+OK\r\n"
        if command == b"HELLO" and str(self.server.info["redis_version"]) >= "6":
            return b"%1\r\n$5\r\nproto\r\n:3\r\n"
        if command == b"INFO":
            text = "".join(f"{name}:{value}\r\n" for name, value in self.server.info.items())
            return f"${len(text)}\r\n{text}\r\n".encode()
        return b"-ERR unknown command `%b`, with args beginning with: \r\n" % command


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@contextmanager
def server_that_says(info: Mapping[str, object]) -> Iterator[str]:
    """Run a server with this answer to INFO, which refuses most commands; yields its URL."""
    with _Server(("127.0.0.1", 0), _Session) as server:
        server.info = info  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"redis://127.0.0.1:{server.server_address[1]}/0"
        finally:
            server.shutdown()
            thread.join()
