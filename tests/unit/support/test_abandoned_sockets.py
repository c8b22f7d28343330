"""The check of each test for sockets that it leaves open."""

import socket
from collections.abc import Iterator

import pytest

from tests.support.abandoned_sockets import no_abandoned_sockets


class Client:
    """A client in a cycle of references, which closes its connection when it is freed."""

    def __init__(self, port: int) -> None:
        self.connection = socket.create_connection(("127.0.0.1", port))
        self.itself = self

    def __del__(self) -> None:
        self.connection.close()


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_socket_that_only_the_collector_would_close_is_found(port: int) -> None:
    with pytest.raises(AssertionError, match=f"'127.0.0.1', {port}"), no_abandoned_sockets():
        Client(port)


def test_a_closed_socket_and_one_in_use_are_accepted(port: int) -> None:
    with no_abandoned_sockets():
        closed, used = Client(port), Client(port)
        closed.connection.close()
        del closed
    used.connection.close()
