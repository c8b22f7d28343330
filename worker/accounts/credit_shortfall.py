"""How much money is missing for the jobs that wait for it."""

from collections.abc import Iterable
from dataclasses import dataclass

from worker.ledger.ledger import Ledger
from worker.ledger.model.states import Reason


@dataclass(frozen=True, slots=True)
class CreditShortfall:
    """Jobs that wait for credits, and the credits that are missing for them by estimate."""

    waiting: int
    missing: float

    def __str__(self) -> str:
        """As people read it."""
        return f"Jobs that wait for credits: {self.waiting}; about {self.missing:g} are missing."


def credit_shortfall(
    ledger: Ledger, names: Iterable[str], clip_cost: float, *, more: int = 0
) -> CreditShortfall:
    """What is missing for all jobs that wait for credits, at the present estimate.

    Args:
        ledger: The records.
        names: The accounts that pay.
        clip_cost: The least that a clip is taken to cost.
        more: Jobs that are about to wait too.
    """
    waiting = ledger.held_count(Reason.CREDITS) + more
    accounts = [ledger.account(name) for name in names]
    price = max((account.price(clip_cost) for account in accounts), default=clip_cost)
    left = sum(account.headroom for account in accounts)
    return CreditShortfall(waiting, max(0.0, waiting * price - left))
