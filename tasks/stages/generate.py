"""The generating stage: sends the turn's paid message, and never sends it twice."""

from typing import Final, assert_never
from uuid import uuid4

import structlog
from redis.exceptions import RedisError

from tasks.stages.adoption import adopt_payment, attempt_number
from tasks.stages.paid_message import message_stream, send_message
from tasks.stages.sending_right import SendingRight
from tasks.step.commits import (
    NO_SESSION,
    continue_in,
    hold,
    hold_for_budget,
    hold_for_credits,
    hold_for_plan,
    repeat_later,
    with_jitter,
)
from tasks.step.context import LeaseLostError, StepContext
from tasks.step.credentials import account_name, job_credential
from tasks.step.progress import report_progress
from worker.journal.attempts import AdoptAttempt, next_attempt
from worker.journal.entries import Entry, entry_name
from worker.ledger.model.accounts import Account
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.verdicts import BeginVerdict
from worker.ledger.payments import PaymentIntent
from worker.nemo.responses import SessionState
from worker.reconciliation import new_entry

log = structlog.get_logger(__name__)

SLOT_SECONDS: Final = 1.0
"""How long a job waits for the account to have room for one more message."""
MAY_PAY_SECONDS: Final = 5.0
"""How long a job waits before it checks again whether the worker may pay."""
OTHER_JOURNAL: Final = (
    "This worker's payment journal is not the one of the other workers. Set REELQUEUE_JOURNAL_URL "
    "to a store that all workers share."
)


def generate(step: StepContext) -> Commit:
    """Send the turn's message, unless it may have been sent before.

    The order matters: the baseline is read before the message can change the state, and the
    intent to pay is on disk before the message is sent.
    """
    job, runtime = step.job, step.runtime
    if job.call is not None:
        return _settle_sent_message(step)
    if not runtime.status.may_pay:
        return _wait_to_pay(step, runtime.status.why_not_pay)
    if not job.fact("session_id"):
        # Redis has lost the session while the step that uploaded the files still owned the job.
        return Commit(State.PREPARING, facts=NO_SESSION)
    credential = job_credential(step)
    if credential.name != job.facts["account"]:
        return Commit(State.PREPARING, facts=NO_SESSION)
    # Without a free slot, the intent would be refused after a useless call of the API.
    if not _has_free_slot(step):
        return repeat_later(step, with_jitter(SLOT_SECONDS))
    attempt = attempt_number(step)
    if isinstance(attempt, Commit):
        return attempt
    with runtime.open_client(credential.token) as client:
        state = client.state(job.facts["session_id"])
        if _has_changed_since_question(job, state):
            # The agent has worked on after its question: maybe no answer has to be paid for.
            return continue_in(State.SETTLING, {"readings": "0", "last_reading": ""})
        _note_baseline(step, state)
        # After a restore of Redis, the random part distinguishes this call from a lost one of the
        # same turn.
        call = f"{job.id}:{job.turn}:{job.fence}:{uuid4().hex[:12]}"
        intent = _record_intent(step, call, attempt)
        refused = _intent_refused(step, intent, call)
        if refused is not None:
            return refused
        right = SendingRight(step, _entry(step, call, attempt, intent.previous, state))
        if not right.create():
            return _attempt_taken(step, call)
        stream = message_stream(step, client, right)
    # After the block, so that the connection of the client is not held while the stream lasts.
    return send_message(step, stream, right)


def _has_free_slot(step: StepContext) -> bool:
    """Return whether the account seems to have a free slot. The intent checks it reliably."""
    payments, account = step.runtime.payments, _account(step)
    cap = min(step.runtime.settings.limits.account_in_flight, int(account.window))
    return payments.slots_taken(account.name, step.clock.now_ms()) < cap


def _account(step: StepContext) -> Account:
    """Return the account as the step has read it with its credential."""
    return step.account or step.runtime.ledger.account(account_name(step))


def _wait_to_pay(step: StepContext, why: str) -> Commit:
    """Repeat the stage later, and say in the job's progress what it waits for."""
    report_progress(step, f"Payments are stopped: {why}")
    return repeat_later(step, MAY_PAY_SECONDS, trouble=why)


def _entry(step: StepContext, call: str, attempt: int, previous: str, state: SessionState) -> Entry:
    """Return the journal entry of the attempt.

    If another message was sent in the session before, the state that was read has the draft which
    that message made. The entry keeps this draft for the other message's job.
    """
    account = _account(step)
    job_id, _, number = previous.rpartition(" ")
    return new_entry(
        step.job,
        call=call,
        attempt=attempt,
        created_at=step.clock.now_ms(),
        price=account.price(step.runtime.settings.api.clip_cost),
        previous=entry_name(job_id, int(number)) if previous else "",
        draft=state.draft.pack() if previous else "",
    )


def _attempt_taken(step: StepContext, call: str) -> Commit:
    """End the step because the entry of the attempt exists already."""
    runtime, job = step.runtime, step.job
    decision = next_attempt(runtime.journal.attempts(job.id), job.decided_attempts)
    if isinstance(decision, AdoptAttempt):
        return adopt_payment(step, decision, replaces=call)
    runtime.payments.withdraw(job.id, call, "never_sent")
    return repeat_later(step, 0.0)


def _settle_sent_message(step: StepContext) -> Commit:
    """Continue at settle, because an earlier step has sent, or may have sent, the message."""
    if step.job.call_fact("stream"):
        return continue_in(State.SETTLING)
    waited = (step.clock.now_ms() - step.job.sent_at) / 1000
    wait = max(0.0, step.runtime.settings.timing.settle_first_seconds - waited)
    return continue_in(State.SETTLING, delay=wait)


def _has_changed_since_question(job: Job, state: SessionState) -> bool:
    """Return whether the state has changed although the agent asked a question."""
    is_answer = bool(job.turns) and job.turns[-1].outcome == "question"
    return is_answer and state.fingerprint != job.fact("baseline")


def _note_baseline(step: StepContext, state: SessionState) -> None:
    """Note the state before the message, with which later readings are compared.

    The intent to pay writes it.
    """
    step.note_facts(
        baseline=state.fingerprint,
        bind_id=state.bind_id or step.job.fact("bind_id") or "",
        readings="0",
        last_reading="",
    )


def _record_intent(step: StepContext, call: str, attempt: int) -> PaymentIntent:
    """Record the intent to pay. If Redis does not answer, the intent counts as not durable."""
    runtime, job = step.runtime, step.job
    settings = runtime.settings
    try:
        intent = runtime.payments.begin(
            job.id,
            step.lease.fence,
            turn=job.turn,
            call=call,
            cost=settings.api.clip_cost,
            cap=settings.limits.account_in_flight,
            session_id=job.facts["session_id"],
            attempt=attempt,
            journal_id=runtime.journal.id(),
            facts=step.noted,
        )
    except RedisError as error:
        log.warning("intent to pay not confirmed", error=str(error))
        return PaymentIntent(BeginVerdict.NOT_DURABLE)
    if intent.verdict is BeginVerdict.OK:
        step.noted.clear()
    return intent


def _intent_refused(step: StepContext, intent: PaymentIntent, call: str) -> Commit | None:
    """Return how the step ends if the message may not be sent; None if it may."""
    runtime, job = step.runtime, step.job
    match intent.verdict:
        case BeginVerdict.OK:
            return None
        case BeginVerdict.LOST:
            raise LeaseLostError
        case BeginVerdict.ALREADY:
            return _settle_sent_message(step)
        case BeginVerdict.CANCELLED:
            return Commit(State.CANCELLED)
        case BeginVerdict.NO_CREDIT:
            return hold_for_credits(step, runtime.ledger.account(account_name(step)))
        case BeginVerdict.PLAN:
            account = account_name(step)
            if not job.is_bound and runtime.accounts.others_can_take(account):
                return Commit(State.PREPARING, facts=NO_SESSION)
            return hold_for_plan(step, account)
        case BeginVerdict.BUDGET:
            batch = runtime.ledger.batch(job.batch_id or "")
            return hold_for_budget(step, (batch and batch.max_credits) or 0)
        case BeginVerdict.COOLING:
            return repeat_later(step, intent.wait + with_jitter(SLOT_SECONDS))
        case BeginVerdict.NO_BALANCE:
            runtime.balance_monitor.read_balance(job_credential(step))
            return repeat_later(step, SLOT_SECONDS)
        case BeginVerdict.NOT_DURABLE:
            runtime.payments.withdraw(job.id, call, "not_durable")
            trouble = "Redis did not confirm a write to disk."
            return repeat_later(step, MAY_PAY_SECONDS, trouble=trouble)
        case BeginVerdict.OTHER_JOURNAL:
            return _wait_to_pay(step, OTHER_JOURNAL)
        case BeginVerdict.NO_SLOT:
            return repeat_later(step, with_jitter(SLOT_SECONDS))
        case BeginVerdict.SESSION_BUSY | BeginVerdict.SESSION_BLOCKED:
            # The preparing stage acquires the session again; it waits for it, or holds the job.
            return Commit(State.PREPARING, delay=with_jitter(SLOT_SECONDS))
        case BeginVerdict.CLOSED:
            message = (
                "The previous turn allows no further paid message. This is an error of reelqueue: "
                "please report it, with the record of the job and the workers' logs."
            )
            return hold(step, Reason.POISON, message)
        case _:
            assert_never(intent.verdict)
