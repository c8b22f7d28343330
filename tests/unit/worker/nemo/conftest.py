"""A loopback server a test, and a client that calls it."""

from collections.abc import Iterator

import httpx
import pytest
from pydantic import SecretStr

from tests.unit.worker.nemo.loopback_server import Server, serving
from worker.nemo.client import NemoClient
from worker.nemo.http.transport import Identity, open_http

TOKEN = "nmv_usr_not-for-your-eyes"
NOW = 1_700_000_000.0


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with open_http() as opened:
        yield opened


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as told:
        yield told


@pytest.fixture
def client(http: httpx.Client, server: Server) -> NemoClient:
    return NemoClient(
        http,
        api_url=server.url,
        web_url="https://web.example",
        identity=Identity(platform="unknown", version="1.0.0"),
        token=SecretStr(TOKEN),
        clock=lambda: NOW,
    )
