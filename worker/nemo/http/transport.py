"""HTTP connections to the video API: opening them, reading responses, and their errors."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from worker.egress.proxies import proxy_for, tls_context
from worker.nemo.envelope import RawResponse
from worker.nemo.errors import BadAnswer, Call, NoAnswer, Unreachable
from worker.nemo.http.lean_client import LeanClient

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
WRITE_SECONDS = 60.0
MAX_RESPONSE_BYTES = 16 * 2**20
"""The largest response that is read into memory; a draft is usually a few kilobytes."""

_KEEPALIVE_SECONDS = 2.0
_TIMEOUT = httpx.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS, write=WRITE_SECONDS, pool=None)
# Idle connections close before common servers close them: the outcome of a call on a connection
# that is closing would be unknown.
_LIMITS = httpx.Limits(
    max_connections=None, max_keepalive_connections=1, keepalive_expiry=_KEEPALIVE_SECONDS
)
# Raised only before any of the request was written.
_NOTHING_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


def open_http(url: str) -> httpx.Client:
    """Open an HTTP client for one caller and the host of one URL; the caller closes it.

    Concurrent callers use separate clients, because a client with thousands of connections
    searches all of them at every request. Only the worker's slots limit how many there are.

    Proxies and certificate bundles of the environment are used, because many machines reach the
    API in no other way; loopback never goes through a proxy. Redirects are not followed, so that
    the token is sent to no other host.

    Raises:
        WrongEnvironmentError: The environment names a proxy or certificates that cannot be used.
    """
    transport = httpx.HTTPTransport(
        verify=tls_context(), proxy=environment_proxy(url), limits=_LIMITS, trust_env=False
    )
    return LeanClient(transport, _TIMEOUT)


@functools.cache
def environment_proxy(url: str) -> httpx.Proxy | None:
    """Return the proxy for a URL. The environment is read once a process and URL.

    Raises:
        WrongEnvironmentError: The environment names a proxy that cannot be used.
    """
    return proxy_for(httpx.URL(url))


@contextmanager
def http_errors(call: Call) -> Iterator[None]:
    """Translate the errors of the HTTP library into those of this package.

    The original is left out of the traceback, because it may quote what the server sent.

    Raises:
        Unreachable: No connection was made.
        NoAnswer: The connection broke or timed out.
        BadAnswer: The content encoding of the response is broken.
    """
    try:
        yield
    except _NOTHING_SENT as exc:
        raise Unreachable(call, describe(exc)) from None
    except httpx.DecodingError as exc:
        raise BadAnswer(call, describe(exc)) from None
    except httpx.TransportError as exc:
        raise NoAnswer(call, describe(exc)) from None


def describe(exc: httpx.HTTPError) -> str:
    """Describe an error by its class and its text, which may be empty."""
    return f"{type(exc).__name__}: {exc}"


def read_response(call: Call, response: httpx.Response) -> RawResponse:
    """Read the body of a response whose head has arrived; the caller closes the response.

    Raises:
        BadAnswer: The response is larger than ``MAX_RESPONSE_BYTES``.
        httpx.TransportError: A successful response was cut off. A refusal that was cut off is
            still a refusal, classified by its status.
    """
    body = bytearray()
    try:
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > MAX_RESPONSE_BYTES:
                raise BadAnswer(call, "the response is too large", status=response.status_code)
    except httpx.TransportError:
        if response.is_success:
            raise
        body.clear()
    return RawResponse(response.status_code, response.headers, bytes(body))
