"""A loopback server for each test, and a client that calls it."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tests.unit.worker.loopback_server import Server, serving
from worker.nemo.client import NemoClient
from worker.nemo.http.headers import Identity
from worker.nemo.http.transport import open_http

TOKEN = "nmv_usr_not-for-your-eyes"
NOW = 1_700_000_000.0


def make_client(http: httpx.Client, api_url: str, **options: Any) -> NemoClient:
    """Build a client with a token."""
    defaults: dict[str, Any] = {"token": SecretStr(TOKEN), "clock": lambda: NOW}
    return NemoClient(
        http,
        api_url=api_url,
        web_url="https://web.example",
        identity=Identity(platform="unknown", version="1.0.0"),
        **{**defaults, **options},
    )


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with open_http("http://127.0.0.1") as opened:
        yield opened


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def client(http: httpx.Client, server: Server) -> NemoClient:
    return make_client(http, server.url)
