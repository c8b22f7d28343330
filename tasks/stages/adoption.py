"""Reads the payment journal before a payment, and adopts one that the ledger does not have."""

import structlog

from tasks.stages.reply import draft_facts
from tasks.step.commits import continue_in, fail, hold
from tasks.step.context import LeaseLostError, StepContext
from worker.journal.attempts import AdoptAttempt, next_attempt
from worker.journal.entries import End, split_name
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.verdicts import AdoptVerdict
from worker.nemo.draft import Draft
from worker.reconciliation import adopt, later_payment
from worker.recovery.unreadable_entries import UnreadableEntries

log = structlog.get_logger(__name__)


def attempt_number(step: StepContext) -> int | Commit:
    """Return the number of the attempt that the job may make for its current turn.

    The journal is read once for each turn, and the job's record keeps the number. If another worker
    creates the entry of this attempt before a later step does, that step's creation fails.

    Returns:
        The number; or the commit that ends the step, if the journal has a payment for the turn.

    Raises:
        LeaseLostError: The step no longer owns the job.
        JournalFailed: The journal does not answer.
    """
    turn, _, number = (step.job.fact("next_attempt") or "").partition(":")
    if turn == str(step.job.turn):
        return int(number)
    attempts = step.runtime.journal.attempts(step.job.id)
    decision = next_attempt(attempts, step.job.decided_attempts)
    if isinstance(decision, AdoptAttempt):
        return adopt_payment(step, decision)
    step.note_facts(next_attempt=f"{step.job.turn}:{decision.number}")
    return decision.number


def adopt_payment(step: StepContext, payment: AdoptAttempt, *, replaces: str = "") -> Commit:
    """Adopt a payment, so that the job continues at settle.

    Args:
        step: The step.
        payment: The payment.
        replaces: The call of the current turn, if its message can never be sent; else "".

    Raises:
        LeaseLostError: The step no longer owns the job.
    """
    runtime, job, last = step.runtime, step.job, payment.attempt
    if last.entry is not None and last.entry.fingerprint != job.facts.get("fingerprint"):
        return fail(
            step,
            Reason.KEY_CONFLICT,
            f"The key of this job has paid for another payload, as attempt {last.number} in the "
            "payment journal.",
            "Submit this job under a new key, or the other payload under this one.",
        )
    verdict = adopt(runtime.payments, job, payment, fence=step.lease.fence, replaces=replaces)
    if verdict is not AdoptVerdict.OK:
        raise LeaseLostError
    step.use_record(runtime.ledger.job(job.id) or job)
    log.info("payment adopted from the journal", attempt=last.number)
    if last.entry is None:
        UnreadableEntries(runtime.ledger).add(job.id)
        return hold(
            step,
            Reason.OUTCOME_UNKNOWN,
            f"Attempt {last.number} of this job cannot be read in the payment journal "
            f"({last.problem}). It may have been charged.",
            resume=State.SETTLING,
        )
    return continue_in(State.SETTLING)


def adopt_later_payment(step: StepContext) -> Commit | None:
    """Adopt the job's last payment in the journal, if Redis has lost it.

    Returns:
        None if the record has it.

    Raises:
        LeaseLostError: The step no longer owns the job.
        JournalFailed: The journal does not answer.
    """
    payment = later_payment(step.runtime.journal, step.runtime.payments, step.job)
    return None if payment is None else adopt_payment(step, payment)


def finish_adopted(step: StepContext) -> Commit | None:
    """Finish an adopted job by its end in the journal, or by the next message in its session.

    Returns:
        None if the journal has neither. The session's state then shows what the message did.

    Raises:
        JournalFailed: The journal does not answer.
    """
    ended = step.runtime.journal.ended(step.job.id, step.job.last_attempt)
    if ended is not None and (commit := _repeat_end(step, ended)) is not None:
        return commit
    return finish_from_next_message(step)


def finish_delivered(step: StepContext) -> Commit | None:
    """End a job whose delivery Redis has lost, if its clip is still in the output store.

    Returns:
        None if the journal has no end of the job as succeeded, or if the clip is gone.

    Raises:
        JournalFailed: The journal does not answer.
    """
    ended = step.runtime.journal.ended(step.job.id, step.job.last_attempt)
    if ended is None or ended.state != State.SUCCEEDED:
        return None
    return _repeat_end(step, ended)


def finish_from_next_message(step: StepContext) -> Commit | None:
    """Finish a job by the draft that was read before the next message in its session.

    The journal's entry of that message has the draft.

    Returns:
        None if the journal has no entry of a next message, or no finished draft in it.

    Raises:
        JournalFailed: The journal does not answer.
    """
    journal, turn = step.runtime.journal, step.job.message_turn
    if turn is None or not turn.attempt:
        return None
    own = journal.attempt(step.job.id, turn.attempt)
    following = journal.next(own.entry.name) if own is not None and own.entry else None
    if following is None:
        return None
    found = journal.attempt(*split_name(following))
    if found is None or found.entry is None or not found.entry.draft:
        return None
    draft = Draft.unpack(found.entry.draft)
    if not draft.is_ready:
        return None
    return continue_in(State.RENDERING, draft_facts(step, draft, ""), outcome="done")


def _repeat_end(step: StepContext, ended: End) -> Commit | None:
    """End a job as it ended before; as succeeded only if its clip is in the output store."""
    if ended.state == State.CANCELLED:
        return Commit(State.CANCELLED)
    if ended.state == State.FAILED and (reason := ended.facts.get("reason")):
        message, remedy = (ended.facts.get(name, "") for name in ("message", "remedy"))
        return fail(step, Reason(reason), message, remedy)
    clip_name, _, sha256 = ended.facts.get("stored", "").rpartition(" ")
    if ended.state != State.SUCCEEDED or not clip_name:
        return None
    if not step.runtime.output.has_content(f"{clip_name}.mp4", sha256):
        return None
    facts = {name: value for name, value in ended.facts.items() if name != "stored"}
    return continue_in(State.SUCCEEDED, facts, outcome="done")
