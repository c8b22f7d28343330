"""HTTP over checked addresses, for hosts that users name.

A connection is made to the IP address that was checked, and the name is not resolved again. So a
name that resolves to a public address for the check and to a private one after it (DNS rebinding)
has no effect.
"""

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import httpcore
import httpx
from gevent.monkey import get_original

from worker.egress.address_rules import is_allowed, is_public
from worker.egress.happy_eyeballs import MAX_ADDRESSES, alternate_families, connect_first
from worker.egress.tls import shared_ssl_context
from worker.resources.offload import Waiting, offload_with_timeout

Resolver = Callable[[str, int], Sequence[str]]

_RESOLVE_SECONDS: Final = 5.0
# Name servers can be slow, and gevent's resolver would occupy the threads that decode images.
_getaddrinfo = get_original("socket", "getaddrinfo")


class ForbiddenHostError(Exception):
    """A host must not be reached, because one of its addresses is not public."""

    def __init__(self, host: str, address: str) -> None:
        super().__init__(f"{host} is at {address}, which is not a public address")


def resolve(host: str, port: int) -> Sequence[str]:
    """Return all addresses of a host, in the order that the system prefers.

    Raises:
        OSError: The host has no address, or the resolver did not answer in time.
    """
    found = offload_with_timeout(
        Waiting.NAMES, _RESOLVE_SECONDS, _getaddrinfo, host, port, type=socket.SOCK_STREAM
    )
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class PinnedBackend(httpcore.NetworkBackend):
    """The network layer of a connection pool: checked addresses only, and one overall deadline.

    The Host header and TLS still use the name in the URL.

    Args:
        allowed: Hosts that may be private (`allowed_hosts`).
        seconds: How long everything over this network may take, from now.
        resolver: Returns the addresses of a host.
        clock: Returns seconds.
    """

    def __init__(
        self,
        allowed: frozenset[str],
        seconds: float,
        *,
        resolver: Resolver = resolve,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allowed = allowed
        self._resolver = resolver
        self._clock = clock
        self._deadline = clock() + seconds

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to a host by one of its checked addresses.

        Raises:
            ForbiddenHostError: One of its addresses is not public.
            httpcore.NetworkError: No address accepts a connection.
        """
        del local_address  # no caller binds one
        addresses = alternate_families(self._checked_addresses(host, port))[:MAX_ADDRESSES]
        seconds = self.remaining(timeout)
        try:
            opened = connect_first(addresses, port, seconds, socket_options or ())
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"{error} within {seconds:.0f} s") from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        return _DeadlineStream(opened, self.remaining)

    def remaining(self, timeout: float | None) -> float:
        """Shorten a timeout to the time left before the deadline.

        Raises:
            httpcore.ReadTimeout: The deadline is over.
        """
        left = self._deadline - self._clock()
        if left <= 0:
            raise httpcore.ReadTimeout("the transfer took too long in total")
        return left if timeout is None else min(left, timeout)

    def _checked_addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = self._resolver(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved") from error
        if not is_allowed(host, port, self._allowed):
            for address in addresses:
                if not is_public(address):
                    raise ForbiddenHostError(host, address)
        return addresses


class PinnedTransport(httpx.BaseTransport):
    """An httpx transport over a `PinnedBackend`. Proxies of the environment are not used."""

    def __init__(self, backend: PinnedBackend) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=shared_ssl_context(), network_backend=backend
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read the head of its response."""
        url = request.url
        with _httpx_errors():
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


@contextmanager
def open_response(
    backend: PinnedBackend,
    method: str,
    url: httpx.URL,
    *,
    headers: dict[str, str],
    content: bytes | None = None,
    timeout: httpx.Timeout,
) -> Iterator[httpx.Response]:
    """Send one request on a new connection and yield its response, with the body unread.

    Raises:
        ForbiddenHostError: The host must not be reached.
        httpx.TransportError: The host cannot be reached, or the connection broke.
    """
    request = httpx.Request(
        method,
        url,
        headers={"User-Agent": "reelqueue", "Connection": "close", **headers},
        content=content,
        extensions={"timeout": timeout.as_dict()},
    )
    with PinnedTransport(backend) as transport:
        response = transport.handle_request(request)
        try:
            yield response
        finally:
            response.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        with _httpx_errors():
            yield from self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


class _DeadlineStream(httpcore.NetworkStream):
    """A connection on which every wait ends at the deadline."""

    def __init__(
        self, connected: socket.socket, remaining: Callable[[float | None], float]
    ) -> None:
        self._socket = connected
        self._remaining = remaining

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _httpcore_errors(httpcore.ReadTimeout, httpcore.ReadError):
            self._socket.settimeout(self._remaining(timeout))
            return self._socket.recv(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with _httpcore_errors(httpcore.WriteTimeout, httpcore.WriteError):
            while buffer:
                self._socket.settimeout(self._remaining(timeout))
                buffer = buffer[self._socket.send(buffer) :]

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        with _httpcore_errors(httpcore.ConnectTimeout, httpcore.ConnectError):
            try:
                self._socket.settimeout(self._remaining(timeout))
                secured = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
            except BaseException:
                self.close()
                raise
        return _DeadlineStream(secured, self._remaining)

    def get_extra_info(self, info: str) -> object:
        return self._socket if info == "socket" else None


@contextmanager
def _httpcore_errors(
    timeout: type[httpcore.TimeoutException], network: type[httpcore.NetworkError]
) -> Iterator[None]:
    """Raise exceptions of httpcore for those of the socket."""
    try:
        yield
    except TimeoutError as error:
        raise timeout(str(error)) from error
    except OSError as error:
        raise network(str(error)) from error


@contextmanager
def _httpx_errors() -> Iterator[None]:
    """Raise the httpx exception of the same name for one of httpcore."""
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
