"""The credits that are missing for the jobs held for lack of credits."""

from collections.abc import Iterable
from dataclasses import dataclass

from worker.ledger.ledger import Ledger
from worker.ledger.model.states import Reason


@dataclass(frozen=True, slots=True)
class CreditShortfall:
    """The number of jobs that wait for credits, and an estimate of the credits they lack."""

    waiting: int
    missing: float

    def __str__(self) -> str:
        """Return the numbers as a sentence."""
        return f"Jobs waiting for credits: {self.waiting}; about {self.missing:g} are missing."


def credit_shortfall(ledger: Ledger, names: Iterable[str], clip_cost: float) -> CreditShortfall:
    """Estimate the credits that are missing for all jobs that wait for them.

    Args:
        ledger: The records.
        names: The accounts that pay.
        clip_cost: The minimum price of a clip.
    """
    waiting = ledger.held_count(Reason.CREDITS)
    accounts = [ledger.account(name) for name in names]
    price = max((account.price(clip_cost) for account in accounts), default=clip_cost)
    headroom = sum(account.headroom for account in accounts)
    return CreditShortfall(waiting, max(0.0, waiting * price - headroom))
