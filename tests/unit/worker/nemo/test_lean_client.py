"""The lean client sends what httpx's own client sends, and reads what that one reads."""

import io
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from tests.unit.worker.loopback_server import Reply, Server
from worker.nemo.http.lean_client import LeanClient

TIMEOUT = httpx.Timeout(connect=1, read=2, write=3, pool=None)
HEADERS = {"X-Skill-Source": "x", "Accept-Encoding": "identity", "Authorization": "Bearer t"}
CASES: list[dict[str, Any]] = [
    {"headers": HEADERS},
    {"headers": {**HEADERS, "Accept": "text/event-stream"}, "content": b'{"a": 1}'},
    {"headers": HEADERS, "content": b""},
    {"headers": HEADERS, "timeout": httpx.Timeout(9), "extensions": {"trace": None}},
    {"headers": HEADERS, "params": {"a": "1"}},
]


@pytest.mark.parametrize("details", CASES)
@pytest.mark.parametrize("url", ["http://api.example:8080/a/b?c=d", "https://api.example"])
def test_a_request_is_the_same_as_of_the_client_of_httpx(
    url: str, details: Mapping[str, Any]
) -> None:
    with httpx.Client(timeout=TIMEOUT) as theirs, lean() as ours:
        expected = theirs.build_request("POST", url, **details)
        built = ours.build_request("POST", url, **details)
    assert (built.method, built.url) == (expected.method, expected.url)
    assert sorted(built.headers.multi_items()) == sorted(expected.headers.multi_items())
    assert built.read() == expected.read()
    assert built.extensions == expected.extensions


def test_an_upload_is_the_same_as_of_the_client_of_httpx() -> None:
    headers = {**HEADERS, "Content-Type": "multipart/form-data; boundary=limit"}
    bodies = []
    for client in httpx.Client(), lean():
        files = {"files": ("ü.png", io.BytesIO(b"content"), "image/png")}
        with client:
            bodies.append(client.build_request("POST", "http://a/", headers=headers, files=files))
    assert bodies[0].headers["content-length"] == bodies[1].headers["content-length"]
    assert bodies[0].read() == bodies[1].read()


def test_cookies_are_not_kept_and_redirects_not_followed(server: Server) -> None:
    server.on("GET /a", Reply(b"", status=302, headers={"Location": "/b", "Set-Cookie": "c=d"}))
    with LeanClient(httpx.HTTPTransport(), TIMEOUT) as client:
        for _ in range(2):
            request = client.build_request("GET", f"{server.url}/a")
            response = client.send(request, stream=True)
            assert (response.status_code, response.read()) == (302, b"")
            assert "cookie" not in request.headers
            response.close()


def test_a_connection_is_kept_for_the_next_request(server: Server) -> None:
    server.on("GET /a", Reply(b"{}"))
    seen = []
    with LeanClient(httpx.HTTPTransport(), TIMEOUT) as client:
        for _ in range(2):
            response = client.send(client.build_request("GET", f"{server.url}/a"), stream=True)
            response.read()
            response.close()
            seen.append(response.extensions["network_stream"].get_extra_info("client_addr"))
    assert seen[0] == seen[1]


def lean() -> LeanClient:
    return LeanClient(httpx.HTTPTransport(), TIMEOUT)
