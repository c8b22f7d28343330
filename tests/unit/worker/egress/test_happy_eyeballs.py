"""Hosts with several addresses: one that accepts is found, whatever the addresses before it do."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.unit.worker.egress.loopback_site import IMAGE, LOOPBACK, Site, running_site
from tests.unit.worker.loopback_server import Reply
from worker.egress import sources
from worker.egress.happy_eyeballs import alternate_families, connect_first
from worker.egress.sources import download_source
from worker.egress.webhook_request import send

PATIENCE = 30.0


@contextmanager
def silent_addresses(port: int, count: int) -> Iterator[list[str]]:
    """Yield addresses that do not respond, as with a broken route: their accept queues are full."""
    addresses = [f"127.0.0.{2 + number}" for number in range(count)]
    with ExitStack() as resources:
        for address in addresses:
            server = resources.enter_context(socket.socket())
            server.bind((address, port))
            server.listen(0)
            for _ in range(3):
                filler = resources.enter_context(socket.socket())
                filler.setblocking(False)
                with suppress(BlockingIOError):
                    filler.connect((address, port))
        yield addresses


@pytest.fixture
def site() -> Iterator[Site]:
    """A running web site."""
    with running_site() as found:
        yield found


@pytest.mark.parametrize(
    ("given", "order"),
    [
        (["::1", "::2", "::3", "1.1.1.1"], ["::1", "1.1.1.1", "::2", "::3"]),
        (["1.1.1.1", "::1", "1.1.1.2"], ["1.1.1.1", "::1", "1.1.1.2"]),
        (["::1"], ["::1"]),
        ([], []),
    ],
)
def test_the_families_take_turns(given: list[str], order: list[str]) -> None:
    assert alternate_families(given) == order


@pytest.mark.parametrize("silent", [0, 1, 3])
def test_a_picture_is_fetched_from_the_address_that_answers(
    site: Site, tmp_path: Path, silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Waiting for a silent address alone would take longer than a test may.
    monkeypatch.setattr(sources, "_TIMEOUT", httpx.Timeout(20, connect=3600))
    with silent_addresses(site.port, silent) as addresses:
        download_source(
            site.url("/a.png", "photos.test"),
            tmp_path / "given",
            private_hosts=("photos.test",),
            max_bytes=10**6,
            resolver=lambda _host, _port: [*addresses, LOOPBACK],
        )
    assert (tmp_path / "given").read_bytes() == IMAGE


def test_a_webhook_is_delivered_at_the_address_that_answers(site: Site) -> None:
    site.server.on("POST /hook", Reply(b"", 204))
    with silent_addresses(site.port, 3) as addresses:
        send(
            site.url("/hook", "hooks.test"),
            {},
            b"{}",
            private_hosts=("hooks.test",),
            resolver=lambda _host, _port: [*addresses, LOOPBACK],
        )
    assert len(site.server.requests) == 1


def test_a_refusal_lets_the_next_address_start_immediately(site: Site) -> None:
    with connect_first(["127.0.0.9", LOOPBACK], site.port, PATIENCE) as connected:
        assert connected.getpeername()[0] == LOOPBACK
        assert connected.getblocking()


def test_the_addresses_that_do_not_answer_are_named(site: Site) -> None:
    with (
        silent_addresses(site.port, 2) as addresses,
        pytest.raises(TimeoutError, match=r"no answer from 127\.0\.0\.2, 127\.0\.0\.3"),
    ):
        connect_first(addresses, site.port, 3)


def test_the_last_refusal_is_raised_when_all_refuse(site: Site) -> None:
    with pytest.raises(ConnectionRefusedError):
        connect_first(["127.0.0.8", "127.0.0.9"], site.port, PATIENCE)
    with pytest.raises(OSError, match="no address"):
        connect_first([], site.port, PATIENCE)
