"""The proxy imitates each network condition."""

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.faults.proxy import SLICE, Condition, Proxy


@pytest.fixture
def echo() -> Iterator[int]:
    """Return the port of a server that echoes what it receives."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(client: socket.socket) -> None:
        with client:
            try:
                while data := client.recv(65536):
                    client.sendall(data)
            except OSError:
                return

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(client,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield int(listener.getsockname()[1])
    # Ends the thread, which `close` alone leaves waiting.
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.fixture
def proxy(echo: int) -> Iterator[Proxy]:
    with Proxy(echo) as proxy:
        yield proxy


def connected(proxy: Proxy) -> socket.socket:
    """Open a connection and use it once."""
    client = socket.create_connection(("127.0.0.1", proxy.port), timeout=60)
    assert echoed(client, b"first") == b"first"
    return client


def echoed(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    back = b""
    while len(back) < len(data):
        back += client.recv(65536)
    return back


@pytest.mark.parametrize("condition", [Condition.NORMAL, Condition.SLOW, Condition.SLICED])
def test_bytes_arrive_whole(proxy: Proxy, condition: Condition) -> None:
    data = bytes(range(256)) * 20
    assert len(data) > 3 * SLICE
    with connected(proxy) as client:
        proxy.set_condition(condition)
        assert echoed(client, data) == data


def test_a_half_open_connection_stays_silent_and_a_new_one_works(proxy: Proxy) -> None:
    with connected(proxy) as client:
        proxy.set_condition(Condition.HALF_OPEN)
        proxy.set_condition(Condition.NORMAL)
        with connected(proxy):
            client.sendall(b"hello?")
            client.settimeout(0.1)
            with pytest.raises(TimeoutError):
                client.recv(1)


def test_a_cut_closes_and_a_reset_is_an_error(proxy: Proxy) -> None:
    with connected(proxy) as client:
        proxy.cut()
        assert client.recv(1) == b""
    with connected(proxy) as client:
        proxy.cut(reset=True)
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_the_connection_is_closed_if_the_server_is_down() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = int(closed.getsockname()[1])
    with (
        Proxy(port) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client,
    ):
        assert client.recv(1) == b""


def test_a_muted_server_gets_requests_and_its_replies_are_dropped(proxy: Proxy) -> None:
    with connected(proxy) as client:
        proxy.mute()
        client.sendall(b"hello?")
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(1)
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as second:
            second.sendall(b"hello?")
            second.settimeout(0.1)
            with pytest.raises(TimeoutError):
                second.recv(1)
    proxy.cut()
    with connected(proxy) as client:
        assert echoed(client, b"again") == b"again"


def test_new_connections_go_to_the_new_server(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, connected(proxy) as first:
        proxy.forward_to(other.getsockname()[1])
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as second:
            accepted, _ = other.accept()
            with accepted:
                accepted.sendall(b"new")
                assert second.recv(3) == b"new"
        assert echoed(first, b"old") == b"old"
