"""Which attempt a job may make next, or which one it adopts. Pure: facts in, decision out."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from worker.journal.journal import Attempt


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """The job may create this attempt."""

    number: int


@dataclass(frozen=True, slots=True)
class AdoptAttempt:
    """The job was, or may have been, paid by an attempt: it continues at settle, for free.

    Attributes:
        attempt: The last attempt that was, or may have been, charged.
        earlier: The attempts before it that were, or may have been, charged.
    """

    attempt: Attempt
    earlier: Sequence[Attempt]


def next_attempt(
    attempts: Sequence[Attempt], decided: Collection[int]
) -> OpenAttempt | AdoptAttempt:
    """Decide whether a job that is about to pay makes a further attempt, or adopts a payment.

    It makes one only if the last attempt that may be charged is decided: its outcome was a
    question, or a person decided to pay again. Attempts after it that were not charged do not
    change that, because the ledger may have lost the payment and all that followed it.

    Args:
        attempts: All attempts of the job in the journal, the last one at the end.
        decided: The numbers of the attempts after which the ledger has opened a further turn.
    """
    payment = last_payment(attempts)
    if payment is None or payment.attempt.number in decided:
        return OpenAttempt(len(attempts) + 1)
    return payment


def last_payment(attempts: Sequence[Attempt]) -> AdoptAttempt | None:
    """Return the last attempt that was, or may have been, charged; None if there is none."""
    charged = tuple(each for each in attempts if each.may_be_charged)
    return AdoptAttempt(charged[-1], charged[:-1]) if charged else None
