"""How clips are fetched from where the API says they lie, which may be any host at all.

The API's own host is called as always. Every other one is connected to by an address that was
checked to be public, unless it is configured, so that no render's address and no redirect leads
into the house (`worker.egress.pinned_transport`). Where the environment demands a proxy, the proxy connects
and resolves names, so only addresses that are written out can be checked here.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from worker.egress.pinned_transport import (
    ForbiddenHostError,
    PinnedBackend,
    allowed_hosts,
    is_public,
)
from worker.egress.tls import shared_ssl_context

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class DownloadClients:
    """Chooses the HTTP client for each address on the way to one clip.

    Args:
        http: The client of the API's own host; stays open.
        api_url: Base URL of the API, whose host may be reached on any port.
        private_hosts: Further hosts, as ``host`` or ``host:port``, that may be private.
        seconds: How long all of the way may take, from now.
    """

    def __init__(
        self, http: httpx.Client, *, api_url: str, private_hosts: Iterable[str], seconds: float
    ) -> None:
        self._http = http
        self._api_host = httpx.URL(api_url).host
        self._allowed = allowed_hosts((*private_hosts, self._api_host))
        self._backend = PinnedBackend(self._allowed, seconds)

    def client_for(self, url: httpx.URL) -> AbstractContextManager[httpx.Client]:
        """The client to ask at this address, closed with the block if it is not the API's.

        Raises:
            ForbiddenHostError: A proxy would lead to an address that is not public.
        """
        if url.host == self._api_host:
            return nullcontext(self._http)
        proxy = _proxy_of(url)
        if proxy is None:
            return httpx.Client(transport=_PinnedTransport(self._backend), timeout=self._timeout)
        if not {url.host, f"{url.host}:{url.port}"} & self._allowed and not _may_be_public(url):
            raise ForbiddenHostError(url.host, url.host)
        return httpx.Client(
            proxy=proxy, trust_env=False, verify=shared_ssl_context(), timeout=self._timeout
        )

    @property
    def _timeout(self) -> httpx.Timeout:
        return self._http.timeout


class _PinnedTransport(httpx.BaseTransport):
    """An httpx transport over checked addresses; no proxies."""

    def __init__(self, backend: PinnedBackend) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=shared_ssl_context(), network_backend=backend
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and read the head of its answer."""
        url = request.url
        with _told_by_httpx():
            response = self._pool.handle_request(
                httpcore.Request(
                    request.method,
                    httpcore.URL(
                        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(response.status, headers=response.headers, stream=_Body(response))

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        with _told_by_httpx():
            yield from self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


@contextmanager
def _told_by_httpx() -> Iterator[None]:
    """Raise httpx's exceptions for httpcore's, which bear the same names."""
    try:
        yield
    except (
        httpcore.NetworkError,
        httpcore.TimeoutException,
        httpcore.ProtocolError,
        httpcore.UnsupportedProtocol,
    ) as error:
        kind: type[httpx.TransportError] = getattr(httpx, type(error).__name__)
        raise kind(str(error)) from error


def _proxy_of(url: httpx.URL) -> str | None:
    """The proxy that the environment demands for an address, if it does."""
    if url.host in _LOOPBACK:
        return None
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(url.host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _may_be_public(url: httpx.URL) -> bool:
    try:
        ipaddress.ip_address(url.host)
    except ValueError:
        return True  # a name: what it resolves to is known to the proxy alone
    return is_public(url.host)
