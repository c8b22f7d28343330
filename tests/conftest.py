"""Fixtures of all tests."""

from collections.abc import Iterator

import pytest
from redis import Redis

from tests.support.valkey import Valkey


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One Valkey for the whole run."""
    server = Valkey(tmp_path_factory.mktemp("valkey")).start()
    yield server
    server.stop()


@pytest.fixture
def redis(valkey: Valkey) -> Iterator[Redis]:
    """A client on an empty database."""
    with valkey.client() as client:
        client.flushall()
        yield client
