"""A SOCKS 5 proxy on loopback. It connects each client to one port, and records requested hosts."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_PATIENCE = 30.0


@contextmanager
def socks_proxy(target: int) -> Iterator[tuple[int, list[str]]]:
    """Run a proxy for one connection; yield its port, and the list of requested hosts."""
    asked: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(_PATIENCE)

        def serve() -> None:
            with suppress(OSError), server.accept()[0] as client:
                client.settimeout(_PATIENCE)
                client.recv(262)
                client.sendall(b"\x05\x00")
                request = client.recv(262)
                asked.append(request[5 : 5 + request[4]].decode())
                client.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
                with socket.create_connection(("127.0.0.1", target), _PATIENCE) as upstream:
                    upstream.sendall(client.recv(65_536))
                    while piece := upstream.recv(65_536):
                        client.sendall(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1], asked
        finally:
            # Ends a wait for a client that never came.
            with suppress(OSError), socket.create_connection(server.getsockname()):
                pass
            thread.join(_PATIENCE)
