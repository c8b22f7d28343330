"""Sends a paid message, reads its stream to the end, and records what it contained.

The caller has recorded the intent to pay. Whatever happens here, the message is not sent again.
"""

import json
import time
from typing import Any, Final

import structlog
from redis.exceptions import RedisError

from tasks.schema.prompts.message_text import answer, instructions
from tasks.stages.sending_right import SendingRight
from tasks.step.commits import continue_in
from tasks.step.context import StepContext
from tasks.step.decisions import apply_decision, decide_error
from tasks.step.progress import report_progress, store_progress
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import State
from worker.ledger.model.steps import Commit
from worker.nemo.client import NemoClient
from worker.nemo.errors import NemoError
from worker.nemo.streaming.events import Heartbeat
from worker.nemo.streaming.message_stream import MessageStream
from worker.nemo.streaming.transcript import Transcript
from worker.policy import uncharged_reason

log = structlog.get_logger(__name__)

STILL_WORKING: Final = "⏳ Still working…"
AT_WORK: Final = "The agent is working."


def message_stream(step: StepContext, client: NemoClient, right: SendingRight) -> MessageStream:
    """Return the stream of the turn's message, which is not sent yet, on a connection of its own.

    Args:
        step: The step, whose intent to pay is recorded.
        client: A client with the token of the job's account.
        right: The right to send it, whose journal entry exists.
    """
    return client.message(
        step.job.facts["session_id"],
        _text(step.job),
        read_timeout=step.runtime.settings.timing.stream_idle_seconds,
        may_send=right.may_send,
    )


def send_message(step: StepContext, stream: MessageStream, right: SendingRight) -> Commit:
    """Send the turn's message and read its stream. The settling stage decides whether it worked.

    Args:
        step: The step, whose intent to pay is recorded.
        stream: The stream of the message, which is not sent yet.
        right: The right to send it.
    """
    settings, lease, call = step.runtime.settings, step.lease, right.entry.call
    lease.abort = stream.abort
    lease.hard_deadline = time.monotonic() + settings.timing.stream_timeout_seconds
    lease.extend_deadline(settings.timing.stream_idle_seconds)
    try:
        transcript = _read_stream(step, stream, call)
    except NemoError as error:
        return _message_failed(step, error, right)
    finally:
        lease.abort = None
    is_clean = bool(transcript.clean) and transcript.error is None
    delay = 0.0 if is_clean else settings.timing.settle_first_seconds
    facts = _transcript_facts(call, transcript, is_clean=is_clean)
    return continue_in(State.SETTLING, facts, delay=delay)


def _text(job: Job) -> str:
    is_answer = job.turns and job.turns[-1].outcome == "question"
    text = answer if is_answer else instructions
    return text(job.payload, job.fact("attached") or "", job.fact("picture") or "")


def _read_stream(step: StepContext, stream: MessageStream, call: str) -> Transcript:
    """Send the message and read its stream to the end, even if the lease is lost.

    Raises:
        NemoError: There is no stream: the message was refused, not answered, or not sent.
    """
    settings = step.runtime.settings
    transcript = Transcript()
    still_working_at = time.monotonic() + settings.timing.still_working_seconds
    # Sends the message.
    with stream:
        _record_accepted(step, call)
        for event in stream:
            transcript.add(event)
            # Heartbeats do not count: a stream of nothing else reaches the idle limit.
            if not isinstance(event, Heartbeat):
                step.lease.extend_deadline(settings.timing.stream_idle_seconds)
            if time.monotonic() >= still_working_at:
                still_working_at = time.monotonic() + settings.timing.still_working_seconds
                report_progress(step, STILL_WORKING)
    return transcript


def _record_accepted(step: StepContext, call: str) -> None:
    """Record that the API accepted the message; an error here must not stop the stream."""
    try:
        step.runtime.payments.record_accepted(step.job.id, call, AT_WORK)
    except RedisError as error:
        log.info("acceptance of the message not recorded", error=str(error))
    store_progress(step, AT_WORK)


def _transcript_facts(call: str, transcript: Transcript, *, is_clean: bool) -> dict[str, str]:
    """Return the facts of the stream. They were paid for, and are stored even without a lease."""
    contents: dict[str, Any] = {
        "clean": is_clean,
        "reply": transcript.reply,
        "tools": transcript.tool_activity,
        "error": transcript.error.message if transcript.error else None,
        "heartbeats": transcript.heartbeats,
        "skipped": transcript.skipped,
    }
    return {
        f"fact:{call}:stream": json.dumps(contents, ensure_ascii=False),
        f"fact:{call}:ended": "clean" if is_clean else "broken",
    }


def _message_failed(step: StepContext, error: NemoError, right: SendingRight) -> Commit:
    """End the step after the message failed without a stream.

    If the message was certainly not charged, its intent is withdrawn first.

    Raises:
        LeaseLostError: The step no longer owns the job.
    """
    failed_at, decision = step.clock.now_ms(), decide_error(step, error)
    uncharged = uncharged_reason(error)
    if uncharged is not None:
        right.withdraw(uncharged)
        step.use_record(step.runtime.ledger.job(step.job.id) or step.job)
    return apply_decision(step, decision, error, failed_at)
