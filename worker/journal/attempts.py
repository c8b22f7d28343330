"""Which attempt a job may make next, or which one it adopts. Pure: facts in, decision out."""

from dataclasses import dataclass

from worker.journal.journal import Attempt


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """The job may create this attempt."""

    number: int


@dataclass(frozen=True, slots=True)
class AdoptAttempt:
    """The job was, or may have been, paid by this attempt: it continues at settle, for free."""

    attempt: Attempt


def next_attempt(last: Attempt | None, *, decided_about: int | None) -> OpenAttempt | AdoptAttempt:
    """Decide what a job that is about to pay does.

    An attempt n+1 exists only where attempt n is marked as not charged, or where the present turn
    was opened for attempt n: its outcome was a question, or a person decided to pay again.

    Args:
        last: The job's last attempt in the journal, or None.
        decided_about: The number of the attempt for which the ledger opened the present turn, or
            None. A decision about an attempt that is no longer the last one does not count.
    """
    if last is None:
        return OpenAttempt(1)
    if not last.may_be_charged or decided_about == last.number:
        return OpenAttempt(last.number + 1)
    return AdoptAttempt(last)
