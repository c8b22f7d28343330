"""Where pictures come from when somebody else names the place: URLs that may be traps."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urljoin

import httpcore
import httpx

from worker.egress.pinned_transport import (
    ForbiddenHostError,
    PinnedBackend,
    Resolver,
    allowed_hosts,
    resolve,
)
from worker.egress.tls import shared_ssl_context
from worker.file_refusal import FileRefusedError

MAX_REDIRECTS: Final = 5
FETCH_SECONDS: Final = 120.0
_SILENCE_SECONDS: Final = 20.0
_CONNECT_SECONDS: Final = 10.0
_SCHEMES: Final = frozenset({"http", "https"})
_LAST_PORT: Final = 2**16 - 1
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_OK: Final = 200


def download_source(
    url: str,
    to: Path,
    *,
    private_hosts: Iterable[str] = (),
    api_host: str | None = None,
    max_bytes: int,
    seconds: float = FETCH_SECONDS,
    resolver: Resolver = resolve,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Download what a URL names, if it is somewhere that we may reach.

    Every address of the host must be public, unless the host is configured; so must those of the
    hosts that it redirects to. Proxies of the environment are not used.

    Args:
        url: An http or https URL.
        to: Where the file goes; on a failure nothing is there.
        private_hosts: Hosts, as ``host`` or ``host:port``, whose addresses may be private.
        api_host: One more of them, or the URL of the video API.
        max_bytes: The most bytes that are taken.
        seconds: The longest that all of it may take, redirects included.
        resolver: Finds the addresses of a host.
        clock: Tells seconds.

    Raises:
        FileRefusedError: It may not be used (``forbidden_source``, ``bad_request``), is not there
            (``source_unreachable``), or is too large (``file_too_large``).
        OSError: The file cannot be written.
    """
    backend = PinnedBackend(
        allowed_hosts((*private_hosts, api_host)), seconds, resolver=resolver, clock=clock
    )
    for _ in range(MAX_REDIRECTS + 1):
        next_url = _fetch_once(url, to, max_bytes, backend)
        if next_url is None:
            return
        url = next_url
    raise FileRefusedError(
        "source_unreachable",
        f"{_shown(url)} was redirected to more than {MAX_REDIRECTS} times over.",
        "Give the address at which the picture itself lies.",
    )


def _fetch_once(url: str, to: Path, max_bytes: int, backend: PinnedBackend) -> str | None:
    """Ask once; return where it redirects to, None when the file is there."""
    target = _parsed(url)
    address = httpcore.URL(
        scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path
    )
    headers = [
        (b"Host", target.netloc),
        (b"User-Agent", b"reelqueue"),
        (b"Accept", b"image/*, */*;q=0.1"),
        (b"Accept-Encoding", b"identity"),
        (b"Connection", b"close"),
    ]
    timeouts = {
        "connect": _CONNECT_SECONDS,
        "read": _SILENCE_SECONDS,
        "write": _SILENCE_SECONDS,
        "pool": _CONNECT_SECONDS,
    }
    with (
        _unreachable(url),
        httpcore.ConnectionPool(ssl_context=shared_ssl_context(), network_backend=backend) as pool,
        pool.stream("GET", address, headers=headers, extensions={"timeout": timeouts}) as response,
    ):
        if response.status in _REDIRECTS:
            return urljoin(str(target), _header(response, b"location"))
        if response.status != _OK:
            raise _refused_status(url, response.status)
        if int(_header(response, b"content-length") or 0) > max_bytes:
            raise too_large(url, max_bytes)
        _save(response, url, to, max_bytes)
    return None


def _save(response: httpcore.Response, url: str, to: Path, max_bytes: int) -> None:
    try:
        with to.open("wb") as file:
            for piece in _at_most(response.iter_stream(), url, max_bytes):
                file.write(piece)
    except BaseException:
        to.unlink(missing_ok=True)
        raise


def _at_most(pieces: Iterable[bytes], url: str, max_bytes: int) -> Iterator[bytes]:
    taken = 0
    for piece in pieces:
        taken += len(piece)
        if taken > max_bytes:
            raise too_large(url, max_bytes)
        yield piece


def _parsed(url: str) -> httpx.URL:
    """Read a URL as the library reads it that will use it: two readings are an open door."""
    try:
        target = httpx.URL(url.strip())
    except (httpx.InvalidURL, TypeError, ValueError) as error:
        raise FileRefusedError(
            "bad_request", f"{_shown(url)} is no address of the web.", "Look at its spelling."
        ) from error
    if target.scheme not in _SCHEMES or not target.host:
        raise FileRefusedError(
            "forbidden_source",
            f"{_shown(url)} is no http or https address.",
            "Give an address that starts with https://, or submit the file itself.",
        )
    if (target.port or 0) > _LAST_PORT:
        raise FileRefusedError(
            "bad_request", f"{_shown(url)} names a port that there is not.", "Look at its spelling."
        )
    if target.userinfo:
        raise FileRefusedError(
            "forbidden_source",
            f"The address at {target.host} holds a name or a password.",
            "Give an address that works without one.",
        )
    return target.copy_with(fragment=None)


@contextmanager
def _unreachable(url: str) -> Iterator[None]:
    try:
        yield
    except ForbiddenHostError as error:
        raise FileRefusedError(
            "forbidden_source",
            f"{error}.",
            "Give a public address, or add the host to REELQUEUE_PRIVATE_HOSTS.",
        ) from error
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise FileRefusedError(
            "source_unreachable",
            f"{_shown(url)} cannot be fetched: {str(error) or type(error).__name__}.",
            "See that the address can be reached from here.",
            repeatable=True,
        ) from error


def _refused_status(url: str, status: int) -> FileRefusedError:
    return FileRefusedError(
        "source_unreachable",
        f"{_shown(url)} answers with status {status}.",
        "See that the address gives the picture to anyone who asks.",
        repeatable=status in _PASSING,
    )


def too_large(place: str, max_bytes: int) -> FileRefusedError:
    """Refuse what a URL or a path names, because it has more bytes than are taken."""
    return FileRefusedError(
        "file_too_large",
        f"{_shown(place)} is larger than {max_bytes / 10**6:g} MB.",
        "Compress or scale down the picture, or trim the clip, and send it again.",
    )


def _header(response: httpcore.Response, name: bytes) -> str:
    found = (value for key, value in response.headers if key.lower() == name)
    return next(found, b"").decode("latin-1")


def _shown(url: str) -> str:
    """A URL for people: without its query, a name or a password."""
    bare = url.split("?", 1)[0].split("#", 1)[0]
    scheme, mark, rest = bare.partition("://")
    return f"{scheme}{mark}{rest.rsplit('@', 1)[-1]}"[:200]
