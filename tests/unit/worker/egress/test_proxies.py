"""Proxies and certificates of the environment: they are used, or reported with what to do."""

import os
from collections.abc import Iterator
from pathlib import Path

import certifi
import httpx
import pytest

from tests.unit.worker.egress.socks_server import socks_proxy
from tests.unit.worker.loopback_server import Reply, serving
from worker.egress import proxies
from worker.egress.errors import WrongEnvironmentError
from worker.egress.proxies import environment_problems, proxy_for
from worker.egress.tls import shared_ssl_context
from worker.nemo.errors import Unreachable
from worker.nemo.http.download_clients import DownloadClients
from worker.nemo.http.transport import environment_proxy, open_http

API = "https://api.example"
PROXY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Remove the variables of the machine that runs the tests."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
            monkeypatch.delenv(name)
    for found in shared_ssl_context, environment_proxy:
        found.cache_clear()
    yield
    for found in shared_ssl_context, environment_proxy:
        found.cache_clear()


def problem_of(**env: str) -> str:
    """Return the only problem of an environment, and check that the API cannot be reached."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        shared_ssl_context.cache_clear()
        (problem,) = environment_problems(API)
        assert problem.is_fatal
        with pytest.raises(WrongEnvironmentError, match=problem.variable):
            open_http(API).close()
    shared_ssl_context.cache_clear()
    return str(problem)


def test_without_variables_nothing_is_wrong() -> None:
    assert list(environment_problems(API)) == []
    assert proxy_for(httpx.URL(API)) is None


@pytest.mark.parametrize(
    ("variable", "value", "mend"),
    [
        ("ALL_PROXY", "socks://127.0.0.1:1080/", "Write socks5://host:port"),
        ("all_proxy", "socks4://127.0.0.1:1080", "Write http://, https:// or socks5://host:port"),
        ("HTTPS_PROXY", "ftp://proxy.example", "Write http://"),
        ("https_proxy", "http://proxy.example:port", "Write http://host:port, or unset it"),
        ("HTTPS_PROXY", "http://", "names no host"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "No such file"),
        ("SSL_CERT_FILE", "/dev/null", "holds no certificate. Name a file of certificates in PEM"),
        ("SSL_CERT_FILE", "/", "cannot be read"),
        ("SSL_CERT_DIR", "/nowhere", "is not a folder"),
    ],
)
def test_what_cannot_be_used_is_named_with_what_to_do(variable: str, value: str, mend: str) -> None:
    sentence = problem_of(**{variable: value})
    assert sentence.startswith(f"{variable}: ")
    assert mend in sentence


def test_a_password_is_not_shown() -> None:
    assert "hunter2" not in problem_of(HTTPS_PROXY="socks://me:hunter2@proxy.example:1")


def test_socks_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxies, "find_spec", lambda _name: None)
    assert "reelqueue[socks]" in problem_of(ALL_PROXY="socks5://127.0.0.1:1080")


def test_a_wrong_variable_that_the_api_does_not_need_is_not_fatal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks://127.0.0.1:1080/")
    for exempt in ("http://127.0.0.1:8080", "http://localhost", "http://[::1]:1"):
        (problem,) = environment_problems(exempt)
        assert not problem.is_fatal
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    (problem,) = environment_problems(API)
    assert (problem.variable, problem.is_fatal) == ("ALL_PROXY", False)
    open_http(API).close()


@pytest.mark.parametrize(
    ("exemptions", "url"),
    [
        ("*", API),
        ("api.example", API),
        ("API.EXAMPLE.", API),
        (".example", API),
        ("*.example", API),
        ("other.test api.example", API),
        ("https://api.example/", API),
        ("api.example:443", API),
        ("10.0.0.0/8", "http://10.1.2.3:8000"),
        ("fd00::/8", "http://[fd00::5]"),
        ("[fd00::]/8", "http://[fd00::5]"),
        ("[fd00::5]", "http://[fd00::5]"),
        ("fd00::5", "http://[fd00:0::5]:8000"),
        ("[fd00::5]:8000", "http://[fd00::5]:8000"),
        ("10.1.2.3:80", "http://10.1.2.3"),
        ("10.0.0.0/8", "http://[::ffff:10.1.2.3]"),
    ],
)
def test_exemptions_in_every_form(
    monkeypatch: pytest.MonkeyPatch, exemptions: str, url: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", PROXY)
    assert proxy_for(httpx.URL(url)) is not None
    for written in (exemptions, f"x.test,[::1], {exemptions},fd12::/16"):
        monkeypatch.setenv("NO_PROXY", written)
        assert proxy_for(httpx.URL(url)) is None


@pytest.mark.parametrize(
    "exemptions",
    [
        "",
        "example.",
        "pi.example",
        "api.example:80",
        "api.example/24",
        "10.0.0.0/99",
        "[",
        ":",
        "é",
    ],
)
def test_other_exemptions_do_not_apply(monkeypatch: pytest.MonkeyPatch, exemptions: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", exemptions)
    found = proxy_for(httpx.URL(API))
    if exemptions == "example.":
        assert found is None, "a domain, with the dot of its root"
    else:
        assert found is not None
        assert found.url == httpx.URL("http://proxy.example:3128")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.5", "localhost", "x.localhost", "[::1]"])
def test_loopback_never_goes_through_a_proxy(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", PROXY)
    assert proxy_for(httpx.URL(f"http://{host}:1/")) is None
    assert proxy_for(httpx.URL("http://127.example/")) is not None


def test_the_api_is_reached_through_a_socks_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        server.on("GET /x", Reply(b"{}", headers={"Connection": "close"}))
        port = int(server.url.rpartition(":")[2])
        with socks_proxy(port) as (proxy, asked):
            monkeypatch.setenv("ALL_PROXY", f"socks5h://127.0.0.1:{proxy}")
            with open_http("http://api.example") as http:
                assert http.get("http://api.example/x").status_code == 200
    assert asked == ["api.example"]


def test_the_api_is_reached_through_an_http_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        server.on("GET http://api.example/x", Reply(b"{}"))
        monkeypatch.setenv("http_proxy", server.url.removeprefix("http://"))
        with open_http("http://api.example") as http:
            assert http.get("http://api.example/x").status_code == 200


def test_a_wrong_proxy_for_clips_is_an_error_of_the_download(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The clip is then downloaded through the API, and the job does not fail."""
    monkeypatch.setenv("HTTPS_PROXY", "socks://127.0.0.1:1080/")
    with open_http("http://127.0.0.1") as http:
        clients = DownloadClients(http, api_url="http://127.0.0.1", private_hosts=(), seconds=9)
        with pytest.raises(Unreachable, match="HTTPS_PROXY"):
            clients.client_for(httpx.URL("https://cdn.example/clip.mp4"))


def test_certificates_are_read_from_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = tmp_path / "ca.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert len(list(environment_problems(API))) == 1
    bundle.write_bytes(Path(certifi.where()).read_bytes())
    assert list(environment_problems(API)) == []
