"""Downloads from URLs: only from allowed hosts, at the checked address, within limits."""

import itertools
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import refusing_port
from tests.unit.worker.egress.loopback_site import IMAGE, LOOPBACK, Site, listener, running_site
from tests.unit.worker.loopback_server import Reply
from worker.egress.sources import download_source
from worker.file_refusal import FileRefusedError


@pytest.fixture
def site() -> Iterator[Site]:
    """A running web site."""
    with running_site() as found:
        yield found


@pytest.fixture
def to(tmp_path: Path) -> Path:
    """The path of the download."""
    return tmp_path / "given"


def at(*addresses: str) -> Callable[[str, int], Sequence[str]]:
    """Make a resolver that returns the same addresses for every name."""
    return lambda _host, _port: addresses


def refused(url: str, to: Path, **options: Any) -> FileRefusedError:
    """Return the refusal of a URL; no file may be left."""
    with pytest.raises(FileRefusedError) as caught:
        download_source(url, to, **{"max_bytes": 10**6, **options})
    assert not to.exists()
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize("allowed", ["host", "host and port", "url"])
def test_a_configured_private_host_is_allowed(site: Site, to: Path, allowed: str) -> None:
    options: dict[str, dict[str, Any]] = {
        "host": {"private_hosts": (LOOPBACK,)},
        "host and port": {"private_hosts": ("other.test", site.netloc)},
        "url": {"private_hosts": (site.url(""),)},
    }
    download_source(site.url("/a.png?x=1#top"), to, max_bytes=10**6, **options[allowed])
    assert to.read_bytes() == IMAGE


def test_a_host_configured_with_another_port_is_forbidden(site: Site, to: Path) -> None:
    error = refused(site.url("/a.png"), to, private_hosts=(f"{LOOPBACK}:1",))
    assert error.code == "forbidden_source"
    assert site.hosts == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/a.png",
        "http://localhost:{port}/a.png",
        "http://2130706433:{port}/a.png",
        "http://0x7f.1:{port}/a.png",
        "http://[::ffff:127.0.0.1]:{port}/a.png",
        "http://0.0.0.0:{port}/a.png",
        "http://LOCALHOST:{port}/a.png",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]:{port}/",
        "http://10.0.0.1/",
    ],
)
def test_private_addresses_are_forbidden_in_any_form(site: Site, to: Path, url: str) -> None:
    error = refused(url.format(port=site.port), to, seconds=10)
    assert error.code == "forbidden_source"
    assert not error.repeatable
    assert "REELQUEUE_PRIVATE_HOSTS" in error.remedy
    assert site.hosts == []


def test_one_private_address_among_public_ones_is_forbidden(site: Site, to: Path) -> None:
    error = refused(site.url("/a.png", "mixed.test"), to, resolver=at("93.184.215.14", LOOPBACK))
    assert error.code == "forbidden_source"
    assert LOOPBACK in error.message


def test_the_connection_goes_to_the_checked_address(site: Site, to: Path) -> None:
    """The system cannot resolve the name, so only the pinned address can have been used."""
    download_source(
        site.url("/a.png", "photos.test"),
        to,
        private_hosts=("photos.test",),
        max_bytes=10**6,
        resolver=at(LOOPBACK),
    )
    assert to.read_bytes() == IMAGE
    assert site.hosts == [f"photos.test:{site.port}"]


def test_a_name_is_resolved_once_for_each_connection(site: Site, to: Path) -> None:
    """A name that resolves to another address the second time is not resolved again."""
    resolved = []

    def rebinding(host: str, _port: int) -> Sequence[str]:
        resolved.append(host)
        return [LOOPBACK] if len(resolved) == 1 else ["169.254.169.254"]

    url = site.url("/a.png", "rebinding.test")
    download_source(url, to, private_hosts=("rebinding.test",), max_bytes=10**6, resolver=rebinding)
    assert resolved == ["rebinding.test"]


def test_the_next_address_is_tried_when_the_first_refuses(site: Site, to: Path) -> None:
    download_source(
        site.url("/a.png", "two.test"),
        to,
        private_hosts=("two.test",),
        max_bytes=10**6,
        resolver=at("::1", LOOPBACK),
    )
    assert to.read_bytes() == IMAGE


def test_tls_uses_the_name_at_the_checked_address(to: Path) -> None:
    """The first TLS message names the host; the handshake fails without a certificate."""
    with listener() as (port, received):
        error = refused(
            f"https://secure.test:{port}/a.png",
            to,
            private_hosts=("secure.test",),
            resolver=at(LOOPBACK),
        )
    assert error.code == "source_unreachable"
    assert received[0][0] == 0x16, "a TLS handshake"
    assert b"secure.test" in received[0]


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:10.0.0.1]/",
        "//192.168.1.1/a.png",
        "file:///etc/passwd",
        "gopher://x.test/",
        "http://me:secret@x.test/",
    ],
)
def test_redirects_are_checked(site: Site, to: Path, location: str) -> None:
    site.redirect("/r", location)
    error = refused(site.url("/r"), to, private_hosts=(LOOPBACK,))
    assert error.code == "forbidden_source"
    assert "secret" not in error.message


def test_redirects_are_followed_up_to_a_limit(site: Site, to: Path) -> None:
    for number in range(5):
        site.redirect(f"/r{number}", f"/r{number + 1}")
    site.server.on("GET /r5", Reply(IMAGE))
    download_source(site.url("/r0"), to, private_hosts=(LOOPBACK,), max_bytes=10**6)
    assert to.read_bytes() == IMAGE
    to.unlink()
    site.redirect("/r5", "/r6")
    error = refused(site.url("/r0"), to, private_hosts=(LOOPBACK,))
    assert error.code == "source_unreachable"
    assert not error.repeatable
    assert len(site.hosts) == 12


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("file:///etc/passwd", "forbidden_source"),
        ("ftp://x.test/a.png", "forbidden_source"),
        ("//x.test/a.png", "forbidden_source"),
        ("just text", "forbidden_source"),
        ("https://", "forbidden_source"),
        ("http://me:hunter2@x.test/a.png", "forbidden_source"),
        ("http://hunter2@x.test/a.png", "forbidden_source"),
        ("http://x.test:99999/", "bad_request"),
        ("http://[::1/", "bad_request"),
        ("http://x.test/\x00", "bad_request"),
    ],
)
def test_urls_that_are_not_http_are_refused(to: Path, url: str, code: str) -> None:
    error = refused(url, to, resolver=at("93.184.215.14"))
    assert error.code == code
    assert not error.repeatable
    assert "hunter2" not in str(error)


@pytest.mark.parametrize("path", ["/endless", "/huge", "/a.png"])
def test_a_file_over_the_size_limit_is_refused(site: Site, to: Path, path: str) -> None:
    error = refused(site.url(path), to, private_hosts=(LOOPBACK,), max_bytes=len(IMAGE) - 1)
    assert error.code == "file_too_large"
    assert not error.repeatable


def test_a_file_of_exactly_the_size_limit_is_accepted(site: Site, to: Path) -> None:
    download_source(site.url("/a.png"), to, private_hosts=(LOOPBACK,), max_bytes=len(IMAGE))
    assert to.stat().st_size == len(IMAGE)


def test_a_download_over_the_time_limit_is_refused(site: Site, to: Path) -> None:
    """Each reading of the clock advances it by a second; the site never stops sending."""
    ticks = itertools.count()
    error = refused(
        site.url("/endless"),
        to,
        private_hosts=(LOOPBACK,),
        max_bytes=10**12,
        seconds=60,
        clock=lambda: float(next(ticks)),
    )
    assert error.code == "source_unreachable"
    assert error.repeatable
    assert "took too long in total" in error.message


def test_a_site_that_does_not_respond_is_unreachable(to: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        url = f"http://{LOOPBACK}:{server.getsockname()[1]}/a.png"
        error = refused(url, to, private_hosts=(LOOPBACK,), seconds=0.2)
    assert error.code == "source_unreachable"
    assert error.repeatable


@pytest.mark.parametrize(
    ("number", "repeatable"), [(404, False), (403, False), (204, False), (503, True), (429, True)]
)
def test_other_statuses_are_refused(site: Site, to: Path, number: int, repeatable: bool) -> None:
    site.server.on("GET /s", Reply(b"", number))
    error = refused(site.url("/s?signature=abc"), to, private_hosts=(LOOPBACK,))
    assert (error.code, error.repeatable) == ("source_unreachable", repeatable)
    assert str(number) in error.message
    assert "signature" not in error.message


def test_a_broken_connection_leaves_no_partial_file(site: Site, to: Path) -> None:
    error = refused(site.url("/half"), to, private_hosts=(LOOPBACK,))
    assert (error.code, error.repeatable) == ("source_unreachable", True)


def test_a_response_that_is_not_http_is_refused(to: Path) -> None:
    with listener(b"SSH-2.0-OpenSSH_9.9\r\n") as (port, _):
        error = refused(f"http://{LOOPBACK}:{port}/", to, private_hosts=(LOOPBACK,))
    assert (error.code, error.repeatable) == ("source_unreachable", True)


def test_a_closed_port_and_an_unknown_name_are_unreachable(to: Path) -> None:
    error = refused(f"http://{LOOPBACK}:{refusing_port()}/", to, private_hosts=(LOOPBACK,))
    assert (error.code, error.repeatable) == ("source_unreachable", True)

    def unknown(host: str, _port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, f"no {host}")

    error = refused("http://nowhere.test/", to, resolver=unknown)
    assert (error.code, error.repeatable) == ("source_unreachable", True)
    assert refused("http://empty.test/", to, resolver=at()).code == "source_unreachable"
