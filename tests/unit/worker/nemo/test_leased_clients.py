"""HTTP clients that are kept open, one call at a time each."""

import gc
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from tests.unit.worker.loopback_server import Server, json_reply, serving
from worker.nemo.http import leased_clients
from worker.nemo.http.leased_clients import LeasedClients
from worker.nemo.http.transport import open_http


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        running.on("GET /", json_reply({}, headers={"Set-Cookie": "account=a"}))
        yield running


@pytest.fixture
def clients(server: Server) -> LeasedClients:
    return LeasedClients(partial(open_http, server.url))


def test_each_call_has_a_client_to_itself_and_the_last_one_is_leased_again(
    clients: LeasedClients,
) -> None:
    with clients.lease() as first, clients.lease() as second:
        assert first is not second
    with clients.lease() as again:
        assert again is first


def test_a_connection_is_kept_and_cookies_are_not(clients: LeasedClients, server: Server) -> None:
    for _ in range(3):
        with clients.lease() as client:
            client.get(f"{server.url}/").raise_for_status()
    assert [request.headers["Cookie"] for request in server.requests] == [None] * 3
    assert len({id(client) for client, _ in clients._idle}) == 1


def test_a_client_whose_call_failed_is_leased_again(clients: LeasedClients, server: Server) -> None:
    with pytest.raises(httpx.ConnectError), clients.lease() as client:
        client.get("http://127.0.0.1:1/")
    with clients.lease() as again:
        assert again is client
        assert again.get(f"{server.url}/").is_success


def test_clients_that_nobody_leases_are_closed(
    clients: LeasedClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    with clients.lease() as first, clients.lease():
        pass
    clients.close_idle()
    with clients.lease() as kept:
        assert kept is first
    monkeypatch.setattr(leased_clients, "IDLE_SECONDS", 0.0)
    clients.close_idle()
    assert first.is_closed


class LeasedAtTheLook(deque[tuple[httpx.Client, float]]):
    """Idle clients, of which another thread leases one whenever this one looks at the oldest."""

    def __getitem__(self, index: Any) -> Any:
        self.pop()
        return super().__getitem__(index)


def test_the_last_client_may_be_leased_while_idle_ones_are_closed(clients: LeasedClients) -> None:
    with clients.lease() as client:
        pass
    clients._idle = LeasedAtTheLook(clients._idle)
    clients.close_idle()
    assert not client.is_closed
    client.close()


def test_kept_clients_are_closed_with_the_last_reference(server: Server) -> None:
    clients = LeasedClients(partial(open_http, server.url))
    with clients.lease() as client:
        pass
    del clients
    gc.collect()
    assert client.is_closed
