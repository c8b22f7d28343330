"""The generating stage: pay for the turn's message, but never twice."""

from typing import Final, assert_never

import structlog
from redis.exceptions import RedisError

from tasks.stages.paid_message import send_message
from tasks.step.commits import (
    NO_SESSION,
    advance,
    hold,
    hold_for_budget,
    hold_for_credits,
    retry_later,
    with_jitter,
)
from tasks.step.context import LeaseLostError, StepContext
from tasks.step.credentials import account_name, job_credential
from worker.ledger.ledger import Commit
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import Reason, State
from worker.ledger.model.verdicts import BeginVerdict
from worker.ledger.payments import PaymentIntent
from worker.nemo.responses import SessionState

log = structlog.get_logger(__name__)

SLOT_SECONDS: Final = 1.0
"""How long a job waits for the account to have room for one more message."""
DURABILITY_SECONDS: Final = 5.0
"""How long a job waits for Redis to write to disk."""


def generate(step: StepContext) -> Commit:
    """Send the turn's message, unless it may have been sent before.

    The order matters: the baseline is read before the message can change the state, and the
    intent to pay is on disk before the message is sent.
    """
    job, runtime = step.job, step.runtime
    if job.call is not None:
        return _settle_sent_message(step)
    if not runtime.status.may_pay:
        log.warning("payment suspended", why=runtime.status.why_not_pay)
        return retry_later(step, DURABILITY_SECONDS, trouble=runtime.status.why_not_pay)
    # The intent would be refused: do not call the API for nothing.
    if not runtime.payments.has_free_slot(
        job.facts["account"], runtime.settings.limits.account_in_flight
    ):
        return retry_later(step, with_jitter(SLOT_SECONDS))
    credential = job_credential(step)
    if credential.name != job.facts["account"]:
        return Commit(State.PREPARING, facts=NO_SESSION)
    with runtime.open_client(credential.token) as client:
        baseline = client.state(job.facts["session_id"])
        if _has_changed_since_question(job, baseline):
            return advance(State.SETTLING, {"readings": "0", "last_reading": ""})
        _record_baseline(step, baseline)
        call = f"{job.id}:{job.turn}:{step.lease.fence}"
        intent = _record_intent(step, call)
        refused = _intent_refused(step, intent, call)
        if refused is not None:
            return refused
        return send_message(step, client, call)


def _settle_sent_message(step: StepContext) -> Commit:
    """Read the state to see what a message did that an earlier step sent."""
    if step.job.call_fact("stream"):
        return advance(State.SETTLING)
    waited = (step.runtime.ledger.now_ms() - step.job.sent_at) / 1000
    wait = max(0.0, step.runtime.settings.timing.settle_first_seconds - waited)
    return advance(State.SETTLING, delay=wait)


def _has_changed_since_question(job: Job, state: SessionState) -> bool:
    """Whether the message before, taken for a question, has changed the state after all."""
    is_answer = bool(job.turns) and job.turns[-1].outcome == "question"
    return is_answer and state.fingerprint != job.fact("baseline")


def _record_baseline(step: StepContext, state: SessionState) -> None:
    """Record the state before the message, to compare later readings with."""
    step.update_facts(
        baseline=state.fingerprint,
        bind_id=state.bind_id or step.job.fact("bind_id") or "",
        readings="0",
        last_reading="",
    )


def _record_intent(step: StepContext, call: str) -> PaymentIntent:
    """Record the intent to pay; if Redis does not answer, the intent is not durable."""
    settings, job = step.runtime.settings, step.job
    try:
        return step.runtime.payments.begin(
            job.id,
            step.lease.fence,
            turn=job.turn,
            call=call,
            cost=settings.api.clip_cost,
            cap=settings.limits.account_in_flight,
        )
    except RedisError as error:
        log.warning("intent to pay not confirmed", error=str(error))
        return PaymentIntent(BeginVerdict.NOT_DURABLE)


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
            price = runtime.ledger.account(account_name(step)).price(runtime.settings.api.clip_cost)
            message = f"The account cannot pay for a clip, which costs about {price:g} credits."
            return hold_for_credits(step, message)
        case BeginVerdict.BUDGET:
            batch = runtime.ledger.batch(job.batch_id or "")
            return hold_for_budget(step, (batch and batch.max_credits) or 0)
        case BeginVerdict.COOLING:
            return retry_later(step, intent.wait + with_jitter(SLOT_SECONDS))
        case BeginVerdict.NO_BALANCE:
            runtime.balance_monitor.read_balance(job_credential(step))
            return retry_later(step, SLOT_SECONDS)
        case BeginVerdict.NOT_DURABLE:
            runtime.payments.release(job.id, step.lease.fence, call, "not_durable")
            trouble = "Redis did not confirm a write to disk."
            return retry_later(step, DURABILITY_SECONDS, trouble=trouble)
        case BeginVerdict.NO_SLOT:
            return retry_later(step, with_jitter(SLOT_SECONDS))
        case BeginVerdict.SESSION_BUSY | BeginVerdict.SESSION_BLOCKED:
            # The preparing stage acquires the session again, and waits or holds the job.
            return Commit(State.PREPARING, delay=with_jitter(SLOT_SECONDS))
        case BeginVerdict.CLOSED:
            message = f"The ledger refused the intent to pay: {intent.verdict}."
            return hold(step, Reason.POISON, message)
        case _:
            assert_never(intent.verdict)
