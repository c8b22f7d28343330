"""What the ledger knows of an account: its money, its health and its pace."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from worker.ledger.model.fields import float_or_zero, int_or_zero

FIRST_WINDOW: Final = 5
"""Messages in flight that an account begins with."""


@dataclass(frozen=True, slots=True)
class Account:
    """What is known of one account: its money in credits, its health and its pace. Times in ms.

    Attributes:
        name: The account.
        available: Free to spend, as last read.
        frozen: Reserved by the API for running work, as last read.
        total: Both.
        base: What our reservations are held against.
        reserved: Our reservations: messages that run, or ended after the last reading.
        spent: What our messages have cost.
        estimate: What a clip was seen to cost; 0 until one was.
        read_at: When the balance was read; 0 before the first time.
        cooling_until: The account rests until then, after a 429.
        window: Messages in flight that it bears.
        refusals: 429s since a message was last accepted.
        credits_refused: The API refused a message for lack of credits, and no more came.
        auth_refused_by: Who got a token refused since the last reading: ``job`` or ``balance``.
        bind_id: What binds an anonymous account to a registered one.
    """

    name: str
    available: float
    frozen: float
    total: float
    base: float
    reserved: float
    spent: float
    estimate: float
    read_at: int
    cooling_until: int
    window: float
    refusals: int
    credits_refused: bool
    auth_refused_by: str
    bind_id: str

    @property
    def is_read(self) -> bool:
        """Whether its balance is known."""
        return self.read_at > 0

    @property
    def headroom(self) -> float:
        """What may still be reserved."""
        return self.base - self.reserved

    def price(self, at_least: float) -> float:
        """What a clip is expected to cost: what was seen, and no less than the setting."""
        return max(at_least, self.estimate)

    def affordable_clips(self, at_least: float) -> int:
        """How many more clips can be paid, at a price of at least so much."""
        return 0 if self.credits_refused else max(0, int(self.headroom // self.price(at_least)))


def read_account(name: str, fields: Mapping[str, str]) -> Account:
    """Read an account's record; of one that has none, nothing is held against it.

    A figure that is no number counts as not known: the next reading of the balance writes it anew.
    """

    def number(field: str) -> float:
        return float_or_zero(fields.get(field))

    return Account(
        name=name,
        available=number("available"),
        frozen=number("frozen"),
        total=number("total"),
        base=number("base"),
        reserved=number("reserved"),
        spent=number("spent"),
        estimate=number("estimate"),
        read_at=int_or_zero(fields.get("read_at")),
        cooling_until=int_or_zero(fields.get("cooling_until")),
        window=number("window") or FIRST_WINDOW,
        refusals=int_or_zero(fields.get("refusals")),
        credits_refused=bool(fields.get("refused_at_base")),
        auth_refused_by=fields.get("distrust", ""),
        bind_id=fields.get("bind_id", ""),
    )
