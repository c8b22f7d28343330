"""Downloads source files from URLs that users name, which may lead to any host."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urljoin

import httpx

from worker.egress.address_rules import allowed_hosts
from worker.egress.content_encoding import EncodingError, unpacked
from worker.egress.pinned_transport import (
    ForbiddenHostError,
    PinnedBackend,
    Resolver,
    open_response,
    resolve,
)
from worker.egress.retry_after import retry_after
from worker.egress.signed_addresses import expiry
from worker.egress.web_pages import web_page_title
from worker.file_refusal import FileRefusedError, too_large, without_secrets

MAX_REDIRECTS: Final = 5
DOWNLOAD_SECONDS: Final = 120.0
_TIMEOUT: Final = httpx.Timeout(20.0, connect=10.0)
_HEADERS: Final = {"Accept": "image/*, */*;q=0.1", "Accept-Encoding": "identity"}
_MAX_PORT: Final = 2**16 - 1
# Statuses after which the same request may succeed. 509 and 529 mean an overload; 520 to 524, 527
# and 530 come from Cloudflare; 598 and 599 come from proxies.
_TRANSIENT: Final = frozenset(
    (408, 425, 429, 500, 502, 503, 504, 509, 520, 521, 522, 523, 524, 527, 529, 530, 598, 599)
)
_WHOLE: Final = frozenset({200, 203})
"""The statuses of a complete file; 203 comes from a proxy that has changed it."""
_REFUSED: Final = frozenset({400, 401, 403, 410})
"""The statuses with which stores respond to an address that has expired."""
_RATE_LIMITED: Final = 429
_RATE_LIMIT_SECONDS: Final = 30.0
"""The wait after a 429 response without ``Retry-After``."""


def download_source(
    url: str,
    to: Path,
    *,
    private_hosts: Iterable[str] = (),
    max_bytes: int,
    seconds: float = DOWNLOAD_SECONDS,
    resolver: Resolver = resolve,
    clock: Callable[[], float] = time.monotonic,
    expected: str = "picture",
) -> None:
    """Download the file at a URL, if its host is allowed.

    All addresses of the host must be public, unless the settings allow the host to be private. The
    same holds for the hosts of redirects. Proxies of the environment are not used.

    Args:
        url: An http or https URL.
        to: Where the file goes; it does not exist after a failure.
        private_hosts: Hosts whose addresses may be private (`allowed_hosts`).
        max_bytes: The largest file that is accepted.
        seconds: How long the download may take in total, redirects included.
        resolver: Returns the addresses of a host.
        clock: Returns seconds.
        expected: What the file is, for messages.

    Raises:
        FileRefusedError: The URL may not be used (``forbidden_source``, ``bad_request``), cannot
            be downloaded (``source_unreachable``), is too large (``file_too_large``), or leads to
            a web page (``unsupported_file``).
        OSError: The file cannot be written.
    """
    backend = PinnedBackend(allowed_hosts(private_hosts), seconds, resolver=resolver, clock=clock)
    cookies = httpx.Cookies()
    for _ in range(MAX_REDIRECTS + 1):
        redirect = _download_or_redirect(url, to, max_bytes, backend, cookies)
        if redirect is None:
            _refuse_web_page(url, to, expected)
            return
        url = redirect
    raise FileRefusedError(
        "source_unreachable",
        f"{without_secrets(url)} was redirected more than {MAX_REDIRECTS} times.",
        "Give the final address of the file.",
    )


def _download_or_redirect(
    url: str, to: Path, max_bytes: int, backend: PinnedBackend, cookies: httpx.Cookies
) -> str | None:
    """Download a file; return the address of a redirect instead, if there is one."""
    target = _parse(url)
    # Some servers redirect to the same address until they receive the cookie that they have set.
    request = httpx.Request("GET", target)
    cookies.set_cookie_header(request)
    headers = {**_HEADERS, **request.headers}
    with (
        _connection_errors(url),
        open_response(backend, "GET", target, headers=headers, timeout=_TIMEOUT) as response,
    ):
        if response.has_redirect_location:
            response.request = request
            cookies.extract_cookies(response)
            return urljoin(str(target), _location(response))
        if response.status_code not in _WHOLE:
            raise _unexpected_status(url, response)
        if int(response.headers.get("content-length", 0)) > max_bytes:
            raise too_large(url, max_bytes)
        _save(response, url, to, max_bytes)
    return None


def _save(response: httpx.Response, url: str, to: Path, max_bytes: int) -> None:
    try:
        with to.open("wb") as file:
            coding = response.headers.get("content-encoding", "")
            for chunk in _limited(unpacked(response.iter_raw(), coding), url, max_bytes):
                file.write(chunk)
    except BaseException:
        to.unlink(missing_ok=True)
        raise


def _limited(chunks: Iterable[bytes], url: str, max_bytes: int) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise too_large(url, max_bytes)
        yield chunk


def _parse(url: str) -> httpx.URL:
    """Parse a URL with httpx, which sends the request, so that the checked host is the one used."""
    try:
        target = httpx.URL(url.strip())
    except (httpx.InvalidURL, TypeError, ValueError) as error:
        raise FileRefusedError(
            "bad_request", f"{without_secrets(url)} is not a valid URL.", "Check its spelling."
        ) from error
    if target.scheme not in {"http", "https"} or not target.host:
        raise FileRefusedError(
            "forbidden_source",
            f"{without_secrets(url)} is not an http or https URL.",
            "Give an address that starts with https://, or submit the file itself.",
        )
    if (target.port or 0) > _MAX_PORT:
        raise FileRefusedError(
            "bad_request", f"{without_secrets(url)} has an invalid port.", "Check its spelling."
        )
    if target.userinfo:
        raise FileRefusedError(
            "forbidden_source",
            f"The URL at {target.host} contains a user name or a password.",
            "Give a URL that works without them.",
        )
    return target.copy_with(fragment=None)


@contextmanager
def _connection_errors(url: str) -> Iterator[None]:
    try:
        yield
    except ForbiddenHostError as error:
        raise FileRefusedError(
            "forbidden_source",
            f"{error}.",
            "Give a public address, or add the host to REELQUEUE_PRIVATE_HOSTS.",
        ) from error
    except EncodingError as error:
        raise FileRefusedError(
            "source_unreachable",
            f"The response of {without_secrets(url)} {error}.",
            "Give an address that sends the file uncompressed.",
            repeatable=error.known,
        ) from error
    except (httpx.TimeoutException, httpx.NetworkError, httpx.ProtocolError) as error:
        raise FileRefusedError(
            "source_unreachable",
            f"{without_secrets(url)} cannot be downloaded: {str(error) or type(error).__name__}.",
            "Check that the worker's machine can reach the address.",
            repeatable=True,
        ) from error


def _unexpected_status(url: str, response: httpx.Response) -> FileRefusedError:
    status, expired = response.status_code, expiry(url)
    if status in _REFUSED and expired is not None and expired.timestamp() < time.time():
        return FileRefusedError(
            "source_unreachable",
            f"{without_secrets(url)} expired at {expired:%Y-%m-%d %H:%M} UTC (HTTP status "
            f"{status}).",
            "Submit the image again with a new address that is valid for longer.",
        )
    wait = retry_after(response.headers.get("retry-after"), now=time.time())
    if status == _RATE_LIMITED and wait is None:
        wait = _RATE_LIMIT_SECONDS
    return FileRefusedError(
        "source_unreachable",
        f"{without_secrets(url)} returned HTTP status {status}.",
        "Check that the file can be downloaded without signing in.",
        repeatable=status in _TRANSIENT,
        wait=wait,
    )


def _location(response: httpx.Response) -> str:
    """Return the target of a redirect, which may be in UTF-8 or in any other encoding."""
    raw = next(value for name, value in response.headers.raw if name.lower() == b"location")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        # As in browsers: the next request contains the bytes that the server sent.
        return "".join(chr(byte) if byte < 128 else f"%{byte:02X}" for byte in raw)  # noqa: PLR2004


def _refuse_web_page(url: str, path: Path, expected: str) -> None:
    title = web_page_title(path)
    if title is None:
        return
    path.unlink()
    named = f', titled "{title}"' if title else ""
    raise FileRefusedError(
        "unsupported_file",
        f"{without_secrets(url)} is a web page, not a {expected}{named}.",
        "Give the address of the file itself, which opens without signing in.",
    )
