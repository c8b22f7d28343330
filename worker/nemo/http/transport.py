"""How bytes reach the video API: connections, headers, and what broken ones mean."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from pydantic import SecretStr

from worker.egress.tls import shared_ssl_context
from worker.faultpoints import around
from worker.nemo.envelope import RawResponse
from worker.nemo.errors import BadAnswer, Call, NoAnswer, TokenRefused, Unreachable

SKILL_SOURCE = "ai-image-to-video-extender"
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
WRITE_SECONDS = 60.0
MAX_RESPONSE_BYTES = 8 * 2**20
"""The largest answer that is read into memory; a draft is a few kilobytes."""

_KEPT_SECONDS = 2.0
_LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")
# Shown to be before anything of the request was written.
_NOTHING_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls, as the attribution headers say (contract, "Every call").

    Attributes:
        platform: Value of ``X-Skill-Platform``.
        version: Value of ``X-Skill-Version``.

    Raises:
        ValueError: A value is empty or no header could carry it.
    """

    platform: str
    version: str

    def __post_init__(self) -> None:
        """Refuse here what would otherwise fail at the first call."""
        for name, value in (("platform", self.platform), ("version", self.version)):
            if not _fits_header(value):
                raise ValueError(f"the skill's {name} must be printable ASCII, not {value!r}")

    def headers(self) -> dict[str, str]:
        """Give the attribution headers, which every call carries."""
        return {
            "X-Skill-Source": SKILL_SOURCE,
            "X-Skill-Version": self.version,
            "X-Skill-Platform": self.platform,
        }


def detect_platform(install_path: Path, configured: str | None) -> str:
    """Name the platform: as configured, else read off the install path (contract, "Every call").

    Args:
        install_path: Where this program is installed.
        configured: ``SKILL_SOURCE``, if it is set.
    """
    if configured and configured.strip():
        return configured.strip()
    parts = install_path.parts
    if ".clawhub" in parts:
        return "clawhub"
    if (".cursor", "skills") in itertools.pairwise(parts):
        return "cursor"
    return "unknown"


def bearer(call: Call, token: SecretStr | None) -> dict[str, str]:
    """Give the authorization header.

    Raises:
        TokenRefused: There is no token, or no header could carry it; nothing was sent.
    """
    if token is None:
        raise TokenRefused(call, "no access token is set")
    secret = token.get_secret_value().strip()
    # Checked here, because the HTTP library would quote the value in its own error.
    if not _fits_header(secret):
        raise TokenRefused(call, "the access token holds characters that no header can carry")
    return {"Authorization": f"Bearer {secret}"}


def open_http() -> httpx.Client:
    """Open an HTTP client for one job; the caller closes it.

    A client a job, because a client shared by thousands of connections searches them all at
    every request. Connections are not limited: the caller's slots are the limit.

    Proxies and certificate bundles of the environment are honoured, because many machines reach
    the API in no other way; loopback is never sent through a proxy. Redirects are not followed:
    the token stays with the host it was meant for.
    """
    return httpx.Client(
        verify=shared_ssl_context(),
        timeout=httpx.Timeout(
            connect=CONNECT_SECONDS, read=READ_SECONDS, write=WRITE_SECONDS, pool=None
        ),
        # Kept connections are let go before common servers close them at their end: a call
        # into a closing connection would be one whose outcome nobody knows.
        limits=httpx.Limits(
            max_connections=None, max_keepalive_connections=1, keepalive_expiry=_KEPT_SECONDS
        ),
        follow_redirects=False,
        trust_env=True,
        mounts=dict.fromkeys(_LOOPBACK),
    )


@contextmanager
def http_errors(call: Call) -> Iterator[None]:
    """Turn what the HTTP library raises into this package's errors.

    The original is left out of the traceback on purpose: it may quote what the server sent.

    Raises:
        Unreachable: No connection was made.
        NoAnswer: The connection broke or went silent.
        BadAnswer: The answer's encoding is broken.
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
    """Say what broke, with the kind of failure first: some have no text of their own."""
    return f"{type(exc).__name__}: {exc}"


def exchange(http: httpx.Client, call: Call, request: httpx.Request) -> RawResponse:
    """Send a request and read the whole answer, whatever its status.

    Raises:
        Unreachable: No connection was made.
        NoAnswer: No whole answer came.
        BadAnswer: The answer is larger than ``MAX_RESPONSE_BYTES``.
    """
    with around(f"api.{call}"), http_errors(call):
        response = http.send(request, stream=True)
        try:
            return read_response(call, response)
        finally:
            response.close()


def read_response(call: Call, response: httpx.Response) -> RawResponse:
    """Read the body of an answer whose head has come; the caller closes the response.

    Raises:
        BadAnswer: The answer is larger than ``MAX_RESPONSE_BYTES``.
        httpx.TransportError: A successful answer was cut short. A refusal that is cut short is
            still a refusal, told by its status.
    """
    body = bytearray()
    try:
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > MAX_RESPONSE_BYTES:
                raise BadAnswer(call, "the answer is far too large", status=response.status_code)
    except httpx.TransportError:
        if response.is_success:
            raise
        body.clear()
    return RawResponse(response.status_code, response.headers, bytes(body))


def _fits_header(value: str) -> bool:
    return bool(value) and value.isascii() and value.isprintable()
