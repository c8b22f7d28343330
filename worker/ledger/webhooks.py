"""Webhook messages in the ledger: which ones are due to receivers, and the results of tries."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from worker.ledger.ledger import Ledger

MAX_LEASED_RECEIVERS: Final = 20
"""The most receivers to which all workers together send at a time. Each one takes a slot."""
RECEIVER_LEASE_SECONDS: Final = 30.0
"""How long a worker may send to a receiver before another worker may lease it."""


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """A webhook message that was not delivered yet.

    Attributes:
        name: Its id, the same at each try.
        event: What happened, such as ``job.succeeded``.
        kind: Whether it is about a job or a batch.
        about: The id of the job or batch.
        url: The receiver's URL.
        at: When it happened, in ms of the Redis server's clock.
        tries: Failed tries so far.
        body: The body to send; empty before the first try.
    """

    name: str
    event: str
    kind: Literal["job", "batch"]
    about: str
    url: str
    at: int
    tries: int
    body: str


class Webhooks:
    """The webhook messages of one namespace."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def lease_receivers(self) -> list[str]:
        """Lease the receivers that have due messages, up to the limit of leased ones."""
        return list(
            self._ledger.scripts.run(
                "lease_receivers", MAX_LEASED_RECEIVERS, int(RECEIVER_LEASE_SECONDS * 1000)
            )
        )

    def due(self, receiver: str) -> WebhookMessage | None:
        """Return the oldest message that is due for a receiver."""
        flat = self._ledger.scripts.run("webhook_due", receiver)
        if not flat:
            return None
        return _message(flat[0], dict(zip(flat[1::2], flat[2::2], strict=True)))

    def store_body(self, message: WebhookMessage, body: str) -> None:
        """Store a message's body, so that each try sends the same."""
        self._ledger.redis.hset(self._ledger.key("hook", message.name), "body", body)

    def received(self, message: WebhookMessage) -> None:
        """Delete a message that was received."""
        self._ledger.scripts.run("webhook_sent", message.name, -1, "")

    def retry_later(self, message: WebhookMessage, seconds: float, why: str = "") -> None:
        """Make a message whose try failed due again after a delay, and pause its path."""
        self._ledger.scripts.run("webhook_sent", message.name, int(seconds * 1000), why)

    def give_up(self, message: WebhookMessage, why: str) -> None:
        """Delete a message that is not tried again, and store why in its job or batch."""
        self._ledger.scripts.run("webhook_sent", message.name, -1, why)

    def release_receiver(self, receiver: str, rest: float = 0.0) -> None:
        """End the lease of a receiver. The next one begins after ``rest`` seconds or later."""
        self._ledger.scripts.run("release_receiver", receiver, int(rest * 1000))


def _message(name: str, fields: Mapping[str, str]) -> WebhookMessage:
    return WebhookMessage(
        name=name,
        event=fields["event"],
        kind="batch" if fields["kind"] == "batch" else "job",
        about=fields["about"],
        url=fields["url"],
        at=int(fields["at"]),
        tries=int(fields["tries"]),
        body=fields.get("body", ""),
    )
