"""What a recovery does with one job. Pure: the record and the journal in, action out."""

from collections.abc import Sequence
from enum import StrEnum

from worker.journal.attempts import last_payment
from worker.journal.entries import Entry
from worker.journal.journal import Attempt
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import State


class RecoveryAction(StrEnum):
    """What a recovery does with a job of the journal."""

    KNOWN = "known"  # nothing: the ledger has its payment, or its end
    NOT_CHARGED = "not_charged"  # nothing: it has not paid, and must be submitted again
    UNREADABLE = "unreadable"  # nothing: without a readable entry only a submission restores it
    HOLD = "hold"  # submit it; its step holds it, because its last entry cannot be read
    RESTORE_END = "restore_end"  # write the end that the journal has
    RESUME = "resume"  # adopt its payment, so that it continues to its clip
    WITHDRAW = "withdraw"  # it is held because of a message that was not charged: it continues


def needs_reading(job: Job | None, names: Sequence[str]) -> bool:
    """Whether the journal may hold more about a job than its record, judged by names alone.

    Args:
        job: The record, or None.
        names: The names of the job's objects in the journal.
    """
    if job is None:
        return True
    newest = newest_attempt(names)
    if job.state.is_end:
        return job.state is State.FAILED and newest > job.last_attempt
    turn = job.message_turn
    if turn is None or "end" in names or turn.attempt != newest:
        return True
    return job.state is State.HELD and f"{newest}.mark" in names


def newest_attempt(names: Sequence[str]) -> int:
    """Return the number of the last attempt among the names of a job's objects; 0 for none."""
    return max((int(name) for name in names if name.isdecimal()), default=0)


def choose_action(job: Job | None, attempts: Sequence[Attempt], *, has_end: bool) -> RecoveryAction:
    """Decide what a recovery does with a job.

    A job whose record has its last payment continues by its own steps, which read the journal. A
    recovery only ends such a job, if the journal has its end.

    Args:
        job: The record, or None.
        attempts: All attempts of the job.
        has_end: Whether the journal has its end.
    """
    payment = last_payment(attempts)
    if payment is None:
        return _without_payment(job, attempts, has_end=has_end)
    entry = payment.attempt.entry
    if job is None:
        return _without_record(attempts, entry, has_end=has_end)
    is_later = payment.attempt.number > job.last_attempt
    # The record of a failed job may be from before a retry that has paid since.
    may_continue = not job.state.is_end or (is_later and job.state is State.FAILED)
    if not may_continue and (entry is not None or not is_later):
        return RecoveryAction.KNOWN
    if entry is None:
        return RecoveryAction.UNREADABLE
    is_own, has_message = job.call == entry.call, job.message_turn is not None
    if not is_own and job.facts.get("fingerprint") != entry.fingerprint:
        # Its key has paid for another payload: its next step reads the journal, and fails it.
        return RecoveryAction.KNOWN
    if has_end and (is_own or is_later or not has_message):
        return RecoveryAction.RESTORE_END
    is_on_record = has_message or payment.attempt.number in job.decided_attempts
    if is_later or not is_on_record:
        return RecoveryAction.RESUME
    return (
        RecoveryAction.WITHDRAW if _may_withdraw(job, attempts, has_end) else RecoveryAction.KNOWN
    )


def marked_message(job: Job | None, attempts: Sequence[Attempt]) -> Attempt | None:
    """Return the attempt of a held job's message if its mark shows that it was not charged."""
    turn = job.message_turn if job is not None and job.state is State.HELD else None
    if turn is None:
        return None
    own = (each for each in attempts if each.entry is not None and each.entry.call == turn.call)
    return next((each for each in own if each.mark is not None), None)


def _may_withdraw(job: Job | None, attempts: Sequence[Attempt], has_end: bool) -> bool:
    """Return whether a held job may continue without its message. One with an end may not pay."""
    return not has_end and marked_message(job, attempts) is not None


def _without_payment(
    job: Job | None, attempts: Sequence[Attempt], *, has_end: bool
) -> RecoveryAction:
    if job is not None and job.state.is_end:
        return RecoveryAction.KNOWN
    if _may_withdraw(job, attempts, has_end):
        return RecoveryAction.WITHDRAW
    return RecoveryAction.NOT_CHARGED


def _without_record(
    attempts: Sequence[Attempt], entry: Entry | None, *, has_end: bool
) -> RecoveryAction:
    if entry is None:
        can_submit = readable_entry(attempts) is not None
        return RecoveryAction.HOLD if can_submit else RecoveryAction.UNREADABLE
    return RecoveryAction.RESTORE_END if has_end else RecoveryAction.RESUME


def readable_entry(attempts: Sequence[Attempt]) -> Entry | None:
    """Return the last entry of a job that can be read, or None."""
    return next((each.entry for each in reversed(attempts) if each.entry is not None), None)
