"""Generate: the baseline, the intent to pay, the message, and its stream to the end."""

import json
import time
from dataclasses import dataclass, replace
from typing import Any, Final, assert_never

import structlog
from redis.exceptions import RedisError

from tasks.stages.message_text import answer, instructions
from tasks.step.context import FORGET_SESSION, LeaseLostError, Step, judge_error, with_jitter
from tasks.step.progress import report_progress
from worker.ledger.ledger import Commit
from worker.ledger.model.states import Reason, State
from worker.ledger.model.verdicts import BeginVerdict
from worker.ledger.payments import PaymentIntent
from worker.nemo.client import NemoClient
from worker.nemo.errors import NemoError, SessionNotFound
from worker.nemo.streaming.events import End, ToolActivity
from worker.nemo.streaming.message_stream import MessageStream
from worker.nemo.streaming.transcript import Transcript
from worker.policy import Action, PaymentState, error_kind, uncharged_reason

log = structlog.get_logger(__name__)

STILL_WORKING: Final = "⏳ Still working…"
AT_WORK: Final = "The agent is at work."
SLOT_WAIT: Final = 1.0
DURABLE_WAIT: Final = 5.0


def generate(step: Step) -> Commit:
    """Send the turn's message, once, and hear it out."""
    job, runtime = step.job, step.runtime
    if job.call is not None:
        return _left_behind(step)
    if not runtime.status.may_pay:
        log.warning("not paying", why=runtime.status.why_not_pay)
        return step.retry_later(DURABLE_WAIT, trouble=runtime.status.why_not_pay)
    # Asked for nothing, when the intent would be refused for want of a slot anyway.
    if not runtime.payments.has_free_slot(
        job.facts["account"], runtime.settings.limits.account_in_flight
    ):
        return step.retry_later(with_jitter(SLOT_WAIT))
    session_id = job.facts["session_id"]
    credential = step.credential()
    if credential.name != job.facts["account"]:
        return Commit(State.PREPARING, facts=FORGET_SESSION)
    with runtime.clients.open(credential.token) as client:
        baseline = client.state(session_id)
        step.update_facts(
            baseline=baseline.fingerprint,
            bind_id=baseline.bind_id or job.fact("bind_id") or "",
            readings="0",
            last_reading="",
        )
        call = f"{job.id}:{job.turn}:{step.lease.fence}"
        refused = _refusal(step, _intend(step, call), call)
        if refused is not None:
            return refused
        return _send(step, client, session_id, call)


def _intend(step: Step, call: str) -> PaymentIntent:
    """Ask for the right to pay. A server that went away is a write that nobody confirmed."""
    runtime, job = step.runtime, step.job
    try:
        return runtime.payments.begin(
            job.id,
            step.lease.fence,
            turn=job.turn,
            call=call,
            cost=runtime.settings.api.clip_cost,
            cap=runtime.settings.limits.account_in_flight,
        )
    except RedisError as error:
        log.warning("the intent to pay was not confirmed", error=str(error))
        return PaymentIntent(BeginVerdict.NOT_DURABLE)


def _left_behind(step: Step) -> Commit:
    """A message was sent, and this is not its sender: the state tells what became of it."""
    settings = step.runtime.settings
    if step.job.call_fact("stream"):
        return Commit(State.SETTLING, facts={"tries": "0"})
    waited = (step.runtime.ledger.now_ms() - step.job.sent_at) / 1000
    delay = max(0.0, settings.timing.settle_first_seconds - waited)
    return Commit(State.SETTLING, delay=delay, facts={"tries": "0"})


def _refusal(step: Step, intent: PaymentIntent, call: str) -> Commit | None:
    """The end of the step where the message may not be sent; None: it may."""
    settings, job = step.runtime.settings, step.job
    match intent.verdict:
        case BeginVerdict.OK:
            return None
        case BeginVerdict.LOST:
            raise LeaseLostError
        case BeginVerdict.ALREADY:
            return _left_behind(step)
        case BeginVerdict.CANCELLED:
            return Commit(State.CANCELLED)
        case BeginVerdict.NO_CREDIT:
            price = step.runtime.ledger.account(step.account).price(settings.api.clip_cost)
            return step.hold_for_credits(f"The account cannot pay about {price:g} credits now.")
        case BeginVerdict.BUDGET:
            batch = step.runtime.ledger.batch(job.batch_id or "")
            return step.hold_for_budget((batch and batch.max_credits) or 0)
        case BeginVerdict.COOLING:
            return step.retry_later(intent.wait + with_jitter(SLOT_WAIT))
        case BeginVerdict.NO_BALANCE:
            step.runtime.balance_monitor.read_balance(step.credential())
            return step.retry_later(SLOT_WAIT)
        case BeginVerdict.NOT_DURABLE:
            step.runtime.payments.release(job.id, step.lease.fence, call, "not_durable")
            return step.retry_later(DURABLE_WAIT, trouble="Redis did not confirm a write to disk.")
        case BeginVerdict.NO_SLOT:
            return step.retry_later(with_jitter(SLOT_WAIT))
        case BeginVerdict.SESSION_BUSY | BeginVerdict.SESSION_BLOCKED:
            # It joins the session again, which says whether to wait or to be held.
            return Commit(State.PREPARING, delay=with_jitter(SLOT_WAIT))
        case BeginVerdict.CLOSED:
            return step.hold(Reason.POISON, f"The ledger refused the message: {intent.verdict}.")
        case _:
            assert_never(intent.verdict)


def _send(step: Step, client: NemoClient, session_id: str, call: str) -> Commit:
    job, settings = step.job, step.runtime.settings
    asked = job.turns[-1:] and job.turns[-1].outcome == "question"
    attached = job.fact("attached") or ""
    speak = answer if asked else instructions
    text = speak(job.payload, attached, job.fact("picture") or "")
    stream = client.message(session_id, text, read_timeout=settings.timing.stream_idle_seconds)
    step.lease.abort = stream.abort
    step.lease.hard_deadline = time.monotonic() + settings.timing.stream_timeout_seconds
    step.lease.progress(settings.timing.stream_idle_seconds)
    try:
        transcript = _hear(step, stream, call)
    except NemoError as error:
        return _refused(step, error, call)
    finally:
        step.lease.abort = None
    clean = bool(transcript.clean) and transcript.error is None
    _keep(step, call, clean, transcript)
    delay = 0.0 if clean else settings.timing.settle_first_seconds
    return Commit(State.SETTLING, delay=delay, facts={"tries": "0"})


def _refused(step: Step, error: NemoError, call: str) -> Commit:
    """The direct reply was a refusal: the policy says whether it can have been charged."""
    decision = judge_error(step, error, PaymentState.REPLY)
    if step.job.is_bound and isinstance(error, SessionNotFound):
        # An earlier message was paid for in this session: no other can take its place.
        decision = replace(decision, action=Action.HOLD, reason=Reason.SESSION_LOST)
    uncharged = uncharged_reason(error_kind(error), PaymentState.REPLY)
    if uncharged is not None:
        payments = step.runtime.payments
        if not payments.release(step.job.id, step.lease.fence, call, uncharged):
            raise LeaseLostError
        return _after_take_back(step).decided(decision, error)
    return step.decided(decision, error)


def _after_take_back(step: Step) -> Step:
    """The step as the record stands now: the turn has no message."""
    job = step.runtime.ledger.job(step.job.id)
    return Step(step.runtime, job or step.job, step.lease)


@dataclass(slots=True)
class _Notes:
    """When the user is told that it still works."""

    every: float
    last: float

    def due(self) -> bool:
        now = time.monotonic()
        if now - self.last < self.every:
            return False
        self.last = now
        return True


def _hear(step: Step, stream: MessageStream, call: str) -> Transcript:
    """Follow the stream. What is heard pushes the lease; a lost lease does not end it."""
    settings = step.runtime.settings
    transcript = Transcript()
    notes = _Notes(settings.timing.still_working_seconds, time.monotonic())
    said, at_work = 0, False
    with stream:
        _accepted(step, call)
        for event in stream:
            transcript.add(event)
            # Only heartbeats do not count as progress towards the idle limit.
            if transcript.events - transcript.heartbeats > said:
                said = transcript.events - transcript.heartbeats
                step.lease.progress(settings.timing.stream_idle_seconds)
            if notes.due():
                report_progress(step, STILL_WORKING)
            if isinstance(event, ToolActivity) and not at_work:
                at_work = True
                report_progress(step, AT_WORK)
            if isinstance(event, End):
                break
    return transcript


def _accepted(step: Step, call: str) -> None:
    """The API took the message in: the account bears it. Not worth the stream, should it fail."""
    try:
        step.runtime.payments.record_fact(step.job.id, call, "accepted", "1")
    except RedisError as error:
        log.info("the account's pace could not be noted", error=str(error))


def _keep(step: Step, call: str, clean: bool, transcript: Transcript) -> None:
    """What the money bought is kept with or without a lease."""
    heard: dict[str, Any] = {
        "clean": clean,
        "reply": transcript.reply,
        "tools": transcript.tool_activity,
        "error": transcript.error.message if transcript.error else None,
        "heartbeats": transcript.heartbeats,
        "skipped": transcript.skipped,
    }
    payments = step.runtime.payments
    payments.record_fact(step.job.id, call, "stream", json.dumps(heard, ensure_ascii=False))
    payments.record_fact(step.job.id, call, "ended", "clean" if clean else "broken")
