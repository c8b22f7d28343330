"""Closes the messages of held jobs in the payment journal, before a person decides about them."""

from collections.abc import Iterable, Sequence

from tasks.producer.producer import Producer
from worker.journal.attempts import AdoptAttempt
from worker.journal.entries import End
from worker.journal.stores import JournalFailed
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import State
from worker.ledger.payments import Payments
from worker.reconciliation import MaybeCharged, adopt, review


def close_messages(producer: Producer, job_ids: Iterable[str]) -> list[str]:
    """Make sure that the messages of held jobs cannot be sent any more, and are the last attempts.

    A decision applies to the last attempt only. If the journal has a mark for the message, or a
    later attempt, the job continues without a decision.

    Returns:
        The ids of the jobs that continue without a decision.

    Raises:
        JournalFailed: The journal does not answer, or it is not the one of the records.
    """
    held = [job for job in producer.ledger.jobs(job_ids) if job.state is State.HELD]
    if any(job.last_attempt for job in held):
        _check_journal(producer)
    return [job.id for job in held if _close_message(producer, job)]


def record_cancelled(producer: Producer, job_ids: Sequence[str]) -> None:
    """Write the ends of cancelled jobs that had paid to the journal.

    Raises:
        JournalFailed: The journal does not answer.
    """
    for job in producer.ledger.jobs(job_ids):
        if job.state is State.CANCELLED and job.last_attempt:
            producer.journal.end(End(job.id, State.CANCELLED, attempt=job.last_attempt))


def _check_journal(producer: Producer) -> None:
    """Check that this process has the journal under which the messages were paid.

    In another journal, the messages could not be closed, and might still be sent.

    Raises:
        JournalFailed: This process has another journal.
    """
    journal = producer.journal
    if Payments(producer.ledger).journal_id() not in ("", journal.read_id()):
        raise JournalFailed(
            f"The payment journal of this process, {journal.store.address}, is not the one of the "
            "records.",
            "Set REELQUEUE_JOURNAL_URL to the journal of the workers, as an absolute address, or "
            "run the command where they run.",
        )


def _close_message(producer: Producer, job: Job) -> bool:
    """Close the current turn's message, and return whether the job continues without a decision."""
    if not job.turns:
        return False
    payments, journal = Payments(producer.ledger), producer.journal
    found = review(journal, payments, job)
    if isinstance(found, AdoptAttempt):
        adopt(payments, job, found)
    return not isinstance(found, MaybeCharged)
