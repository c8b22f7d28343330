"""Fetches a finished clip into a file."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO

import httpx

from worker.egress.pinned_transport import ForbiddenHostError
from worker.faultpoints import around
from worker.nemo.envelope import read_envelope
from worker.nemo.errors import BadAnswer, Call, NoAnswer
from worker.nemo.http.download_clients import DownloadClients
from worker.nemo.http.transport import http_errors, read_response

MAX_REDIRECTS = 3
DOWNLOAD_SECONDS = 540.0
"""The longest that one way to a clip may take: a server that drips must not hold a step."""

_MAX_LABEL, _MAX_PORT = 64, 65_536
_BOM = b"\xef\xbb\xbf"
_TEXT_KINDS = ("text/", "application/json", "application/xml", "application/xhtml")


class Source(StrEnum):
    """Where a clip came from."""

    OUTPUT = "output"
    PROXY = "proxy"


@dataclass(frozen=True, slots=True)
class Download:
    """A clip that was written to the sink.

    Attributes:
        bytes: Its size.
        content_type: What the server called it, if it did.
        source: The address of the render's output, or the API's own proxy.
    """

    bytes: int
    content_type: str | None
    source: Source


def fetch(
    outside: DownloadClients,
    url: httpx.URL,
    *,
    headers: Mapping[str, str],
    redirect_headers: Mapping[str, str],
    sink: BinaryIO,
    max_bytes: int,
    source: Source,
    clock: Callable[[], float],
) -> Download:
    """Write what an address holds to an emptied sink.

    Args:
        outside: Gives the HTTP client for each address; they follow no redirects by themselves.
        url: The address.
        headers: Headers of the first request.
        redirect_headers: Headers wherever a redirect leads: the same without the token.
        sink: A seekable file; emptied first.
        max_bytes: The largest clip that is taken.
        source: Noted in the result.
        clock: Now, in seconds since the epoch.

    Raises:
        Unreachable: No connection was made.
        NoAnswer: The body is shorter than announced, takes too long, or the connection broke.
        BadAnswer: It is no clip: empty, a page, JSON, too large, nowhere to be found, or at an
            address that is not public.
        Refusal: The server answered with a refusal.
    """
    deadline = clock() + DOWNLOAD_SECONDS
    for hop in range(MAX_REDIRECTS + 1):
        with (
            around("api.download"),
            _told_where_forbidden(),
            outside.client_for(url) as http,
            http_errors(Call.DOWNLOAD),
        ):
            request = http.build_request(
                "GET", url, headers=headers if hop == 0 else redirect_headers
            )
            response = http.send(request, stream=True)
            try:
                if response.has_redirect_location:
                    url = _next(url, response)
                    continue
                _check_head(response, max_bytes, clock)
                size = _save(response, sink, max_bytes, lambda: clock() > deadline)
            finally:
                response.close()
        return Download(size, response.headers.get("content-type"), source)
    raise BadAnswer(Call.DOWNLOAD, f"more than {MAX_REDIRECTS} redirects")


def clip_url(url: str, base: str) -> httpx.URL:
    """Read the address of a clip, relative to the API if need be.

    Raises:
        BadAnswer: It is not an address of the web.
    """
    try:
        found = httpx.URL(base).join(url)
    except httpx.InvalidURL:
        raise BadAnswer(Call.DOWNLOAD, "the clip's address cannot be read") from None
    if found.scheme not in ("http", "https") or not _connectable(found):
        raise BadAnswer(Call.DOWNLOAD, "the clip's address is not one of the web")
    return found


@contextmanager
def _told_where_forbidden() -> Iterator[None]:
    try:
        yield
    except ForbiddenHostError as error:
        raise BadAnswer(
            Call.DOWNLOAD, f"{error}; REELQUEUE_PRIVATE_HOSTS names those that may be reached"
        ) from None


def _connectable(url: httpx.URL) -> bool:
    """Tell an address that the resolver would choke on, with errors that are not the network's."""
    labels = url.raw_host.rstrip(b".").split(b".")
    return all(0 < len(label) < _MAX_LABEL for label in labels) and (url.port or 0) < _MAX_PORT


def _next(url: httpx.URL, response: httpx.Response) -> httpx.URL:
    return clip_url(response.headers["location"], str(url))


def _check_head(response: httpx.Response, max_bytes: int, clock: Callable[[], float]) -> None:
    status = response.status_code
    kind = response.headers.get("content-type", "").strip().lower()
    if status != httpx.codes.OK or kind.startswith(_TEXT_KINDS):
        read_envelope(Call.DOWNLOAD, read_response(Call.DOWNLOAD, response), clock=clock)
        raise BadAnswer(Call.DOWNLOAD, f"not a clip but {kind or 'nothing'}", status=status)
    announced = response.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise BadAnswer(Call.DOWNLOAD, f"the clip has {announced} bytes, over {max_bytes}")


def _save(
    response: httpx.Response, sink: BinaryIO, max_bytes: int, is_over: Callable[[], bool]
) -> int:
    """Copy the body; the HTTP library holds it against the announced length."""
    sink.seek(0)
    sink.truncate()
    size = 0
    for chunk in response.iter_bytes():
        if size == 0 and _looks_like_text(chunk):
            raise BadAnswer(Call.DOWNLOAD, "a page or JSON under the name of a clip")
        size += len(chunk)
        if size > max_bytes:
            raise BadAnswer(Call.DOWNLOAD, f"the clip has more than {max_bytes} bytes")
        if is_over():
            raise NoAnswer(Call.DOWNLOAD, f"not whole after {DOWNLOAD_SECONDS:.0f} seconds")
        sink.write(chunk)
    if size == 0:
        raise BadAnswer(Call.DOWNLOAD, "the clip is empty")
    return size


def _looks_like_text(chunk: bytes) -> bool:
    """A clip begins with the length of its first box, four bytes that are no bracket."""
    return chunk.removeprefix(_BOM).lstrip()[:1] in (b"<", b"{", b"[")
