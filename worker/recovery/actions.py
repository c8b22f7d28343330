"""What a recovery does with one job. Pure: the record and the journal in, action out."""

from collections.abc import Sequence
from enum import StrEnum

from worker.journal.attempts import last_payment
from worker.journal.entries import Entry
from worker.journal.journal import Attempt
from worker.ledger.model.jobs import Job


class RecoveryAction(StrEnum):
    """What a recovery does with a job of the journal."""

    KNOWN = "known"  # nothing: the ledger has its payment, or its end
    NOT_CHARGED = "not_charged"  # nothing: it has not paid, and must be submitted again
    UNREADABLE = "unreadable"  # nothing: without a readable entry only a submission restores it
    HOLD = "hold"  # submit it; its step holds it, because its last entry cannot be read
    RESTORE_END = "restore_end"  # write the end that the journal has
    RESUME = "resume"  # adopt its payment, so that it continues to its clip


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


def choose_action(job: Job | None, attempts: Sequence[Attempt], *, has_end: bool) -> RecoveryAction:
    """Decide what a recovery does with a job.

    A record that has a message for its present turn goes on by its own steps, which ask the
    journal. It is only ended, where the journal has its end.

    Args:
        job: The record, or None.
        attempts: All attempts of the job.
        has_end: Whether the journal has its end.
    """
    payment = last_payment(attempts)
    last = payment.attempt if payment else None
    if last is None:
        return RecoveryAction.KNOWN if job and job.state.is_end else RecoveryAction.NOT_CHARGED
    if last.entry is None:
        can_submit = job is None and any(each.entry is not None for each in attempts)
        return RecoveryAction.HOLD if can_submit else RecoveryAction.UNREADABLE
    if job is not None and job.state.is_end:
        return RecoveryAction.KNOWN
    has_message = job is not None and job.message_turn is not None
    is_own = job is not None and job.call == last.entry.call
    if job is not None and not is_own and job.facts.get("fingerprint") != last.entry.fingerprint:
        # Its key has paid for another payload. Its own step asks the journal, and fails it.
        return RecoveryAction.KNOWN
    if has_end and (is_own or not has_message):
        return RecoveryAction.RESTORE_END
    is_decided = job is not None and last.number in job.decided_attempts
    return RecoveryAction.KNOWN if has_message or is_decided else RecoveryAction.RESUME


def readable_entry(attempts: Sequence[Attempt]) -> Entry | None:
    """The last entry of a job that can be read, or None."""
    return next((each.entry for each in reversed(attempts) if each.entry is not None), None)
