"""What a recovery does with one job. Pure: the record and the journal in, decision out."""

from collections.abc import Sequence
from enum import StrEnum

from worker.journal.entries import Entry
from worker.journal.journal import Attempt
from worker.ledger.model.jobs import Job


class Decision(StrEnum):
    """What a recovery does with a job of the journal."""

    KNOWN = "known"  # the ledger has its payment, or its end
    NOT_CHARGED = "not_charged"  # nothing was paid for: whoever wants its clip submits it again
    UNREADABLE = "unreadable"  # no entry can be read: only its submission brings it back
    HOLD = "held"  # its last entry cannot be read: it is submitted, and its step holds it
    END = "delivered"  # it has ended, and becomes what it was
    RESUME = "resumed"  # it was paid for, and continues to its clip


def needs_reading(job: Job | None, names: Sequence[str]) -> bool:
    """Whether the journal may know more of a job than its record, judged by names alone.

    Args:
        job: The record, or None.
        names: The names of what the journal has of the job.
    """
    if job is None:
        return True
    if job.state.is_end:
        return False
    turn = job.message_turn
    return turn is None or "end" in names or turn.attempt != newest_attempt(names)


def newest_attempt(names: Sequence[str]) -> int:
    """The number of the last attempt among the names of what the journal has of a job."""
    return max((int(name) for name in names if name.isdecimal()), default=0)


def decide(job: Job | None, attempts: Sequence[Attempt], *, has_end: bool) -> Decision:
    """Decide what a recovery does with a job.

    A record that has a message for its present turn goes on by its own steps, which ask the
    journal. It is only ended, where the journal has its end.

    Args:
        job: The record, or None.
        attempts: All attempts of the job.
        has_end: Whether the journal has its end.
    """
    if not attempts:
        return Decision.NOT_CHARGED
    last = attempts[-1]
    if last.entry is None:
        can_submit = job is None and any(each.entry is not None for each in attempts)
        return Decision.HOLD if can_submit else Decision.UNREADABLE
    if job is not None and job.state.is_end:
        return Decision.KNOWN
    if not last.may_be_charged:
        return Decision.NOT_CHARGED
    has_message = job is not None and job.message_turn is not None
    is_own = job is not None and job.call == last.entry.call
    if has_end and (is_own or not has_message):
        return Decision.END
    return Decision.KNOWN if has_message else Decision.RESUME


def readable_entry(attempts: Sequence[Attempt]) -> Entry | None:
    """The last entry of a job that can be read, or None."""
    return next((each.entry for each in reversed(attempts) if each.entry is not None), None)
