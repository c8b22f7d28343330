"""The credits that a batch may spend, and how many clips they pay for."""

from dataclasses import dataclass

from tasks.producer.producer import Producer
from worker.runtime.worker_registry import announced_accounts


@dataclass(frozen=True, slots=True)
class Funds:
    """The credits of the accounts at their last readings, and the limit of the batch.

    Attributes:
        available: What the accounts have, without what is reserved; None if no balance was read.
        max_credits: The most that the batch may spend in total; None without a limit.
        affordable: How many clips both pay for; None if neither is known.
    """

    available: float | None
    max_credits: float | None
    affordable: int | None


def funds_for(producer: Producer, batch_id: str, max_credits: float | None) -> Funds:
    """Return the funds for a batch, with ``max_credits`` or else its present limit.

    Raises:
        RedisUnavailable: Redis does not answer.
    """
    ledger, price = producer.ledger, producer.clip_price()
    with producer.redis_errors():
        names = announced_accounts(ledger) or [account.name for account in ledger.accounts()]
        accounts = [account for account in map(ledger.account, names) if account.is_read]
        batch = ledger.batch(batch_id)
    clips = []
    available = None
    if accounts:
        available = max(0.0, sum(account.headroom for account in accounts))
        clips.append(sum(account.affordable_clips(price) for account in accounts))
    limit = max_credits if max_credits is not None else batch.max_credits if batch else None
    if limit is not None:
        left = max(0.0, limit - (batch.committed if batch else 0.0))
        clips.append(int(left // price))
    return Funds(available, limit, min(clips, default=None))
