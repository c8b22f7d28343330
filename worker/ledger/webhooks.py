"""Webhooks in the ledger: what receivers are owed, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from worker.ledger.ledger import Ledger

MAX_LEASED_RECEIVERS: Final = 20
"""Receivers that are talked to at one time, by all workers: so many slots may be lost to them."""
RECEIVER_LEASE_SECONDS: Final = 30.0
"""How long one may talk to a receiver; it is looked at again then, whatever became of it."""


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """One message that is owed.

    Attributes:
        name: Its id, the same at each try.
        event: What happened, such as ``job.succeeded``.
        kind: What it is about: a job or a batch.
        about: The id of that.
        url: Where it goes.
        at: When it happened, in ms of the Redis server's clock.
        tries: How often it was sent in vain.
        body: What is sent; empty before the first try.
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
    """The messages of one namespace."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def lease_receivers(self) -> list[str]:
        """The receivers to talk to now, never too many at once."""
        return list(
            self._ledger.scripts.run(
                "lease_receivers", MAX_LEASED_RECEIVERS, int(RECEIVER_LEASE_SECONDS * 1000)
            )
        )

    def due(self, receiver: str) -> WebhookMessage | None:
        """The oldest message that a receiver is to be sent now."""
        flat = self._ledger.scripts.run("webhook_due", receiver)
        if not flat:
            return None
        return _hook(flat[0], dict(zip(flat[1::2], flat[2::2], strict=True)))

    def store_body(self, hook: WebhookMessage, body: str) -> None:
        """Keep what is sent, so that each try says the same."""
        self._ledger.redis.hset(self._ledger.key("hook", hook.name), "body", body)

    def received(self, hook: WebhookMessage) -> None:
        """A message was received: it is owed no more."""
        self._ledger.scripts.run("webhook_sent", hook.name, -1, "")

    def retry_later(self, hook: WebhookMessage, seconds: float) -> None:
        """A message was sent in vain, and is tried again."""
        self._ledger.scripts.run("webhook_sent", hook.name, int(seconds * 1000), "")

    def give_up(self, hook: WebhookMessage, why: str) -> None:
        """A message is tried no more; the record of its job or batch says why."""
        self._ledger.scripts.run("webhook_sent", hook.name, -1, why)

    def release_receiver(self, receiver: str, rest: float = 0.0) -> None:
        """Leave a receiver until its next message is due, and for so many seconds at least."""
        self._ledger.scripts.run("release_receiver", receiver, int(rest * 1000))


def _hook(name: str, fields: Mapping[str, str]) -> WebhookMessage:
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
