"""Requests that deliver webhooks, with the signature of Standard Webhooks.

Source: the Standard Webhooks specification, "Signature scheme" and "Deliverability".
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Iterable
from typing import Final

import httpx
from pydantic import SecretStr

from worker.egress.address_rules import allowed_hosts
from worker.egress.pinned_transport import (
    ForbiddenHostError,
    PinnedBackend,
    Resolver,
    open_response,
    resolve,
)

RETRY_DELAYS: Final = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 28_800)
"""Seconds before each retry: about a day in total."""
SEND_SECONDS: Final = 10.0
"""How long one attempt may take, connection and response together."""
CONNECT_SECONDS: Final = 5.0


class WebhookDeliveryError(Exception):
    """A webhook was not delivered; ``final`` if it must not be sent to this receiver again."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


def retry_delay(attempts: int) -> float | None:
    """Return the seconds until the next attempt after n failed ones; None to give up."""
    return RETRY_DELAYS[attempts - 1] if attempts <= len(RETRY_DELAYS) else None


def signature_headers(secret: SecretStr, name: str, sent_at: int, body: bytes) -> dict[str, str]:
    """Build the headers with which a receiver can verify the sender and the time of a webhook.

    Args:
        secret: ``whsec_`` and a key in base64.
        name: The id of the message, which is the same for all attempts.
        sent_at: When this attempt is made, in seconds since the epoch.
        body: The body to send.
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
    """Send a webhook once. Only a 2xx status counts as delivered; redirects are not followed.

    Args:
        url: The receiver's URL.
        headers: The headers of `signature_headers`.
        body: JSON.
        private_hosts: Hosts whose addresses may be private (`allowed_hosts`).
        resolver: Returns the addresses of a host.
        clock: Returns seconds.

    Raises:
        WebhookDeliveryError: It was not delivered. The text names the host alone, because the
            URL may be a secret.
    """
    target = httpx.URL(url)
    backend = PinnedBackend(
        allowed_hosts(private_hosts), SEND_SECONDS, resolver=resolver, clock=clock
    )
    try:
        with open_response(
            backend,
            "POST",
            target,
            headers={"Content-Type": "application/json", **headers},
            content=body,
            timeout=httpx.Timeout(SEND_SECONDS, connect=CONNECT_SECONDS),
        ) as response:
            status = response.status_code
    except ForbiddenHostError as error:
        raise WebhookDeliveryError(f"{error}: add it to REELQUEUE_PRIVATE_HOSTS") from error
    except (httpx.TimeoutException, httpx.NetworkError, httpx.ProtocolError) as error:
        cause = str(error) or type(error).__name__
        raise WebhookDeliveryError(f"{target.host} cannot be reached: {cause}") from error
    if status == httpx.codes.GONE:
        raise WebhookDeliveryError(
            f"{target.host} accepts no more webhooks (status {status})", final=True
        )
    if not httpx.codes.is_success(status):
        raise WebhookDeliveryError(f"{target.host} returned status {status}")
