"""Account records: balance, reservations, refusals and the window of messages in flight."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from worker.ledger.model.fields import float_or_zero, int_or_zero

FIRST_WINDOW: Final = 5
"""The most messages in flight of an account that is new."""


@dataclass(frozen=True, slots=True)
class Account:
    """The record of one account. Money is in credits, times are in ms.

    Attributes:
        name: The account.
        available: What can be spent, at the last reading.
        frozen: What the API reserves for running work, at the last reading.
        total: The sum of both.
        base: The amount that reservations are checked against.
        reserved: Reserved for messages that are running or ended after the last reading.
        spent: What the messages of this service have cost.
        messages: How many messages of this service were sent, or were about to be.
        estimate: The cost of a clip as observed; 0 until one was.
        read_at: When the balance was read; 0 before the first reading.
        cooling_until: The end of the pause after a 429.
        window: The most messages in flight at present.
        window_grows: The window grows back to what it was before 429s.
        limited_since: When the current series of 429s began; 0 for none.
        refusals: 429s since a message was last accepted.
        credits_refused: The API refused a message for lack of credits, and the balance has not
            grown since.
        auth_refused_by: Which request had the token refused since the last reading: of a ``job``,
            or of a ``balance``; empty for none.
        token_release_expected: The jobs held for the token are resumed once a reading succeeds.
        plan_refused: The API refused an export because of the account's plan, and no export has
            succeeded since.
        plan_allowed_again: An export has succeeded since, and held jobs are still to be resumed.
        plan_probe_at: When an export of a paid job may be tried to see whether the plan allows it.
        bind_id: The id that binds an anonymous account to a registered one.
    """

    name: str
    available: float
    frozen: float
    total: float
    base: float
    reserved: float
    spent: float
    messages: int
    estimate: float
    read_at: int
    cooling_until: int
    window: float
    window_grows: bool
    limited_since: int
    refusals: int
    credits_refused: bool
    auth_refused_by: str
    token_release_expected: bool
    plan_refused: bool
    plan_allowed_again: bool
    plan_probe_at: int
    bind_id: str

    @property
    def is_read(self) -> bool:
        """Whether the balance was ever read."""
        return self.read_at > 0

    @property
    def headroom(self) -> float:
        """How many credits may still be reserved."""
        return self.base - self.reserved

    def price(self, minimum: float) -> float:
        """Return the expected cost of a clip: the observed one, but at least the minimum."""
        return max(minimum, self.estimate)

    def affordable_clips(self, minimum: float) -> int:
        """Return how many more clips the account can pay for, at a minimum price."""
        return 0 if self.credits_refused else max(0, int(self.headroom // self.price(minimum)))


def read_account(name: str, fields: Mapping[str, str]) -> Account:
    """Read an account's record. Missing fields, and fields that are not numbers, read as 0.

    The next reading of the balance writes them again.
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
        messages=int_or_zero(fields.get("messages")),
        estimate=number("estimate"),
        read_at=int_or_zero(fields.get("read_at")),
        cooling_until=int_or_zero(fields.get("cooling_until")),
        window=number("window") or FIRST_WINDOW,
        window_grows=bool(fields.get("window_before")),
        limited_since=int_or_zero(fields.get("limited_since")),
        refusals=int_or_zero(fields.get("refusals")),
        credits_refused=bool(fields.get("refused_at_base")),
        auth_refused_by=fields.get("distrust", ""),
        token_release_expected=bool(fields.get("token_release")),
        plan_refused=bool(fields.get("plan_refused_at")),
        plan_allowed_again=bool(fields.get("plan_allowed_again")),
        plan_probe_at=int_or_zero(fields.get("plan_probe_at")),
        bind_id=fields.get("bind_id", ""),
    )
