"""Servers with unusual responses: rate limits, codings, redirects, web pages, expired addresses."""

import gzip
import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.unit.worker.egress.loopback_site import IMAGE, LOOPBACK, Site, running_site
from tests.unit.worker.loopback_server import Handler, Reply
from worker.egress.signed_addresses import expiry
from worker.egress.sources import download_source
from worker.file_refusal import FileRefusedError

MAX_BYTES = 10**6
gzipped = partial(gzip.compress, mtime=0)
"""Compresses without the time, because its output is part of the names of tests, which must be the
same in each test process."""
HTML = {"Content-Type": "text/html"}


@pytest.fixture(scope="module")
def shared_site() -> Iterator[Site]:
    with running_site() as found:
        yield found


@pytest.fixture
def site(shared_site: Site) -> Site:
    """The shared web site, without a record of earlier requests."""
    shared_site.server.requests.clear()
    return shared_site


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "given"


def fetched(site: Site, to: Path, path: str = "/x", **options: Any) -> bytes:
    """Download a file and return it."""
    options = {"private_hosts": (LOOPBACK,), "max_bytes": MAX_BYTES, **options}
    download_source(site.url(path), to, **options)
    return to.read_bytes()


def refused(site: Site, to: Path, path: str = "/x", **options: Any) -> FileRefusedError:
    """Return the refusal of a file, and check that no part of the file is left."""
    with pytest.raises(FileRefusedError) as caught:
        fetched(site, to, path, **options)
    assert not to.exists()
    return caught.value


@pytest.mark.parametrize("status", [429, 503, 502])
def test_the_wait_in_retry_after_is_passed_on(site: Site, to: Path, status: int) -> None:
    site.server.on("GET /x", Reply(b"", status, {"Retry-After": "300"}))
    error = refused(site, to)
    assert error.repeatable
    assert error.wait == 300


def test_a_date_as_the_pause_is_understood(site: Site, to: Path) -> None:
    at = datetime.now(UTC) + timedelta(minutes=10)
    date = at.strftime("%a, %d %b %Y %H:%M:%S GMT")
    site.server.on("GET /x", Reply(b"", 503, {"Retry-After": date}))
    wait = refused(site, to).wait
    assert wait is not None
    assert 500 < wait <= 600


def test_a_rate_limit_without_retry_after_has_a_default_wait(site: Site, to: Path) -> None:
    site.server.on("GET /x", Reply(b"", 429))
    assert refused(site, to).wait == 30
    site.server.on("GET /x", Reply(b"", 503))
    assert refused(site, to).wait is None


@pytest.mark.parametrize(
    ("status", "repeatable"),
    [
        *((status, True) for status in (408, 425, 500, 502, 504, 509, 520, 521, 522, 523, 524)),
        *((status, True) for status in (527, 529, 530, 598, 599)),
        *((status, False) for status in (206, 300, 304, 401, 403, 404, 410, 451, 501, 525, 526)),
    ],
)
def test_which_statuses_are_tried_again(
    site: Site, to: Path, status: int, repeatable: bool
) -> None:
    site.server.on("GET /x", Reply(b"", status))
    error = refused(site, to)
    assert (error.code, error.repeatable) == ("source_unreachable", repeatable)


def test_a_file_that_a_proxy_has_changed_is_taken(site: Site, to: Path) -> None:
    site.server.on("GET /x", Reply(IMAGE, 203))
    assert fetched(site, to) == IMAGE


def raw_deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzipped(IMAGE)),
        ("X-GZIP", gzipped(IMAGE)),
        ("deflate", zlib.compress(IMAGE)),
        ("deflate", raw_deflate(IMAGE)),
        ("gzip", gzipped(IMAGE) + b"after the end"),
        ("gzip", IMAGE),
        ("identity", IMAGE),
        ("gzip, identity", gzip.compress(IMAGE)),
        ("", IMAGE),
    ],
)
def test_a_compressed_file_is_unpacked(site: Site, to: Path, coding: str, body: bytes) -> None:
    site.server.on("GET /x", Reply(body, headers={"Content-Encoding": coding}))
    assert fetched(site, to) == IMAGE


@pytest.mark.parametrize("size", [0, 1])
def test_a_tiny_body_with_a_coding_is_returned_unchanged(site: Site, to: Path, size: int) -> None:
    site.server.on("GET /x", Reply(b"x" * size, headers={"Content-Encoding": "gzip"}))
    assert fetched(site, to) == b"x" * size


def test_a_body_that_expands_over_the_limit_is_refused(site: Site, to: Path) -> None:
    bomb = gzipped(bytes(10 * MAX_BYTES))
    assert len(bomb) < MAX_BYTES
    site.server.on("GET /x", Reply(bomb, headers={"Content-Encoding": "gzip"}))
    assert refused(site, to).code == "file_too_large"


@pytest.mark.parametrize(
    ("coding", "body", "repeatable"),
    [
        ("br", b"x", False),
        ("gzip, gzip", gzipped(gzipped(IMAGE)), False),
        ("gzip", gzipped(IMAGE)[:-20], True),
        ("gzip", gzipped(IMAGE)[:20] + b"\xff" * 50, True),
    ],
)
def test_a_body_that_cannot_be_unpacked_is_refused(
    site: Site, to: Path, coding: str, body: bytes, repeatable: bool
) -> None:
    site.server.on("GET /x", Reply(body, headers={"Content-Encoding": coding}))
    error = refused(site, to)
    assert (error.code, error.repeatable) == ("source_unreachable", repeatable)
    assert "compressed" in error.message


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/café.png".encode(), "/caf%C3%A9.png"),
        ("/café.png".encode("latin-1"), "/caf%E9.png"),
        (b"/my photo.png", "/my%20photo.png"),
        (b"/caf%C3%A9.png", "/caf%C3%A9.png"),
        (b"?a=b", "/x?a=b"),
        (b"y.png#top", "/y.png"),
    ],
)
def test_a_redirect_keeps_the_bytes_of_its_target(
    site: Site, to: Path, location: bytes, path: str
) -> None:
    def redirect(handler: Handler) -> None:
        # Another header in another encoding must not change how the target is read.
        handler.wfile.write(
            b"HTTP/1.1 302 Found\r\nX-Owner: Ren\xe9\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n"
            % location
        )

    site.server.on("GET /x", redirect, Reply(IMAGE))
    site.server.on(f"GET {path.partition('?')[0]}", *([] if "?" in path else [Reply(IMAGE)]))
    if "?" in path:
        site.server.on("GET /x", redirect, Reply(IMAGE))
    assert fetched(site, to) == IMAGE
    assert site.server.requests[-1].path == path


def test_a_cookie_that_a_redirect_sets_is_sent_to_its_host_alone(site: Site, to: Path) -> None:
    cookie = {"Set-Cookie": "seen=1; Path=/", "Location": "/x", "Content-Length": "0"}
    site.server.on("GET /x", Reply(b"", 302, cookie), Reply(IMAGE))
    assert fetched(site, to) == IMAGE
    assert [request.headers["Cookie"] for request in site.server.requests] == [None, "seen=1"]
    site.server.requests.clear()
    elsewhere = site.url("/y", "localhost")
    site.server.on("GET /x", Reply(b"", 302, {**cookie, "Location": elsewhere}))
    site.server.on("GET /y", Reply(IMAGE))
    assert fetched(site, to, private_hosts=(LOOPBACK, "localhost")) == IMAGE
    assert [request.headers["Cookie"] for request in site.server.requests] == [None, None]


@pytest.mark.parametrize(
    ("page", "title"),
    [
        (b"<!DOCTYPE html><html><head><title>Sign in &amp; go</title>", "Sign in & go"),
        (b"\xef\xbb\xbf\n <!-- x --> <HTML><TITLE lang=en>\n Two\n lines \x1b[31m</TITLE>", "Two"),
        (b"<?xml version='1.0'?><!doctype html><title>" + b"x" * 500 + b"</title>", "x" * 100),
        (b"<html><body>no title", None),
    ],
)
def test_a_web_page_is_named_with_its_title(
    site: Site, to: Path, page: bytes, title: str | None
) -> None:
    site.server.on("GET /x", Reply(page, headers=HTML))
    error = refused(site, to, "/x?token=secret")
    assert error.code == "unsupported_file"
    assert "/x is a web page, not a picture" in error.message
    assert error.message.isprintable()
    assert "secret" not in error.message
    assert (title or "picture.") in error.message
    assert "not a file" in refused(site, to, expected="file").message


@pytest.mark.parametrize("content", [IMAGE, b"<svg xmlns='x'><title>t</title></svg>", b"", b"<"])
def test_other_files_are_not_web_pages(site: Site, to: Path, content: bytes) -> None:
    """Whatever their Content-Type is."""
    site.server.on("GET /x", Reply(content, headers=HTML))
    assert fetched(site, to) == content


AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "query",
    [
        "X-Amz-Date=20260301T110000Z&X-Amz-Expires=3600&X-Amz-Signature=a",
        "x-goog-date=20260301T110000Z&x-goog-expires=3600&x-goog-signature=a",
        "sv=2024-11-04&se=2026-03-01T12%3A00%3A00Z&sig=a%2Bb",
        "se=2026-03-01T12:00:00&sig=a",
        f"AWSAccessKeyId=x&Expires={int(AT.timestamp())}&Signature=a",
        f"OSSAccessKeyId=x&Expires={int(AT.timestamp())}&Signature=a",
    ],
)
def test_the_expiry_of_a_signed_address_is_read(query: str) -> None:
    assert expiry(f"https://b.example/x.jpg?{query}") == AT


@pytest.mark.parametrize(
    "query",
    [
        *("", "Expires=1", "se=1", "X-Amz-Expires=60", "sig=a", "Expires=x&Signature=a"),
        "X-Amz-Date=now&X-Amz-Expires=60&X-Amz-Signature=a",
        "X-Amz-Date=20260301T110000Z&X-Amz-Expires=9999999999999&X-Amz-Signature=a",
        "Expires=99999999999999999999&Signature=a",
    ],
)
def test_an_address_without_an_expiry_has_none(query: str) -> None:
    assert expiry(f"https://b.example/x.jpg?{query}") is None
    assert expiry("http://[::1") is None


@pytest.mark.parametrize(("shift", "named"), [(-60, True), (3600, False)])
def test_an_address_that_has_expired_is_named(
    site: Site, to: Path, shift: int, named: bool
) -> None:
    site.server.on("GET /x", Reply(b"<Error>", 403))
    end = int(time.time()) + shift
    error = refused(site, to, f"/x?Expires={end}&Signature=secret")
    assert ("expired at" in error.message) is named
    assert not error.repeatable
    assert "secret" not in error.message
