"""Webhooks on the wire: signed by the Standard Webhooks scheme, sent where they may go.

Source: the Standard Webhooks specification, «Signature scheme» and «Deliverability».
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Iterable
from typing import Final

import httpcore
import httpx
from pydantic import SecretStr

from worker.egress.pinned_transport import (
    ForbiddenHostError,
    PinnedBackend,
    Resolver,
    allowed_hosts,
    resolve,
)
from worker.egress.tls import shared_ssl_context

RETRY_DELAYS: Final = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 28_800)
"""Seconds before each further try: about a day in all."""
SEND_SECONDS: Final = 10.0
"""How long one try may take, connection and answer together."""
_GONE: Final = 410


class WebhookDeliveryError(Exception):
    """A message that was not received; ``final`` if the receiver wants no more of it."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


def retry_delay(tries: int) -> float | None:
    """Seconds until the next try, after so many in vain; None: it is given up."""
    return RETRY_DELAYS[tries - 1] if tries <= len(RETRY_DELAYS) else None


def signature_headers(secret: SecretStr, name: str, sent_at: int, body: bytes) -> dict[str, str]:
    """The headers that prove who sent a message, and when.

    Args:
        secret: ``whsec_`` and a key in base64.
        name: The message's id, the same at each try.
        sent_at: When this try is made, in seconds since the epoch.
        body: What is sent.
    """
    key = base64.b64decode(secret.get_secret_value().removeprefix("whsec_"))
    digest = hmac.digest(key, b"%b.%d.%b" % (name.encode(), sent_at, body), hashlib.sha256)
    return {
        "webhook-id": name,
        "webhook-timestamp": str(sent_at),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def send(
    url: str,
    headers: dict[str, str],
    body: bytes,
    *,
    private_hosts: Iterable[str] = (),
    resolver: Resolver = resolve,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Send a message once. Only a status of 2xx says that it was received; no redirect is followed.

    Args:
        url: Where to.
        headers: What `signature_headers` gives.
        body: JSON.
        private_hosts: Hosts, as ``host`` or ``host:port``, whose addresses may be private.
        resolver: Finds the addresses of a host.
        clock: Tells seconds.

    Raises:
        WebhookDeliveryError: It was not received. The text does not hold the address, which may be
            a secret.
    """
    target = httpx.URL(url)
    address = httpcore.URL(
        scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path
    )
    sent = {
        "Host": target.netloc.decode("ascii"),
        "User-Agent": "reelqueue",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **headers,
    }
    backend = PinnedBackend(
        allowed_hosts(private_hosts), SEND_SECONDS, resolver=resolver, clock=clock
    )
    timeouts = dict.fromkeys(("connect", "read", "write", "pool"), SEND_SECONDS)
    try:
        with (
            httpcore.ConnectionPool(
                ssl_context=shared_ssl_context(), network_backend=backend
            ) as pool,
            pool.stream(
                "POST",
                address,
                headers=[(name.encode(), value.encode()) for name, value in sent.items()],
                content=body,
                extensions={"timeout": timeouts},
            ) as response,
        ):
            status = response.status
    except ForbiddenHostError as error:
        raise WebhookDeliveryError(f"{error}: add it to REELQUEUE_PRIVATE_HOSTS") from error
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
        why = str(error) or type(error).__name__
        raise WebhookDeliveryError(f"{target.host} cannot be reached: {why}") from error
    if status == _GONE:
        raise WebhookDeliveryError(
            f"{target.host} wants no more of it (status {status})", final=True
        )
    if not httpx.codes.is_success(status):
        raise WebhookDeliveryError(f"{target.host} answers with status {status}")
