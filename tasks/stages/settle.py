"""The settling stage: reads the session's state until it shows what the message did."""

import json
from dataclasses import dataclass
from typing import Any

from tasks.stages.adoption import (
    adopt_later_payment,
    adopt_payment,
    finish_adopted,
    finish_from_next_message,
)
from tasks.stages.charge_evidence import describe_charge
from tasks.stages.render import first_render
from tasks.stages.reply import draft_facts, question_of
from tasks.step.commits import continue_in, hold
from tasks.step.context import StepContext
from tasks.step.credentials import open_client
from tasks.step.remedy_messages import remedy_without_draft
from worker.journal.attempts import AdoptAttempt
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.nemo.errors import SessionNotFound
from worker.nemo.question import asks_question
from worker.nemo.responses import SessionState
from worker.outcome import (
    Evidence,
    MessageOutcome,
    StateReading,
    may_have_later_turn,
    message_outcome,
)
from worker.reconciliation import MaybeCharged, Withdrawn, review

Stream = dict[str, Any]
"""What the message's stream contained, as the sender recorded it; empty if it recorded nothing."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """A reading of the session's state, with what the message's stream contained.

    Attributes:
        state: The state.
        stream: What the stream contained.
        number: Readings so far, including this one.
    """

    state: SessionState
    stream: Stream
    number: int

    @property
    def facts(self) -> dict[str, str]:
        """The facts by which the next step compares its reading with this one."""
        last = [self.state.fingerprint, self.state.draft.is_ready]
        return {"readings": str(self.number), "last_reading": json.dumps(last)}


def settle(step: StepContext) -> Commit:
    """Read the state once; then continue, read again later, or hold the job."""
    finished = _finish_without_reading(step)
    if finished is not None:
        return finished
    try:
        with open_client(step) as client:
            state = client.state(step.job.message_session)
    except SessionNotFound:
        reviewed = _review(step)
        if reviewed is None:
            raise
        return reviewed
    if _has_later_message(step):
        return _finish_after_later_message(step)
    if step.job.fact("as_done"):
        return _accept_draft(step, state)
    return _decide(step, state)


def _finish_without_reading(step: StepContext) -> Commit | None:
    """Return how the step ends if the state is not needed or cannot be read; else None."""
    job = step.job
    is_after_question = bool(job.turns) and job.turns[-1].outcome == "question"
    if job.call is None and not is_after_question and not job.fact("as_done"):
        # The intent was withdrawn, because the message was not charged.
        return Commit(State.PREPARING)
    finished = _finish_by_journal(step)
    if finished is not None:
        return finished
    if not job.message_session:
        message = "The record of this job does not name the project in which its message was sent."
        return hold(step, Reason.OUTCOME_UNKNOWN, message)
    return None


def _finish_by_journal(step: StepContext) -> Commit | None:
    """Return how the step ends by what the ledger may have lost and the journal has; else None.

    The state would show the draft of a later message, of this job or of another one.
    """
    is_adopted = step.job.fact("adopted") is not None
    may_lack_later = step.runtime.status.may_lack_later_messages(step.job.sent_at)
    if not (is_adopted or may_lack_later):
        return None
    later = adopt_later_payment(step)
    if later is not None:
        return later
    return finish_adopted(step) if is_adopted else finish_from_next_message(step)


def _decide(step: StepContext, state: SessionState) -> Commit:
    """Decide from this reading of the state what the message did, and end the step."""
    job, timing = step.job, step.runtime.settings.timing
    stream: Stream = json.loads(job.call_fact("stream") or "{}")
    reading = _Reading(state, stream, job.number("readings") + 1)
    # The heartbeat enforces the sender's deadline, up to one lease after it has passed.
    message_seconds = timing.stream_timeout_seconds + timing.lease_seconds
    evidence = _evidence(step, reading)
    outcome = message_outcome(
        evidence, min_readings=timing.settle_checks, message_seconds=message_seconds
    )
    is_unchanged = state.fingerprint == job.facts.get("baseline", "")
    if job.call is None and is_unchanged:
        return Commit(State.PREPARING)
    reviewed = None
    if outcome is MessageOutcome.UNKNOWN or (outcome is MessageOutcome.WAIT and is_unchanged):
        # The journal may show that the message was not sent, or not charged.
        reviewed = _review(step)
    elif outcome is MessageOutcome.DONE and may_have_later_turn(
        evidence, message_seconds=message_seconds
    ):
        reviewed = _review_draft(step)
    if reviewed is not None:
        return reviewed
    return _finish(step, outcome, reading)


def _finish(step: StepContext, outcome: MessageOutcome, reading: _Reading) -> Commit:
    """End the step according to what the message did."""
    match outcome:
        case MessageOutcome.DONE:
            text = str(reading.stream.get("reply") or "")
            return _done(step, reading.state, text, reading.facts)
        case MessageOutcome.WAIT:
            delay = step.runtime.settings.timing.settle_seconds
            return continue_in(State.SETTLING, reading.facts, delay=delay)
        case MessageOutcome.QUESTION:
            return _answer(step, question_of(str(reading.stream["reply"])), reading.facts)
        case MessageOutcome.UNKNOWN if step.job.call is None:
            return _hold_changed_after_question(step, reading)
        case MessageOutcome.UNKNOWN:
            return _hold_unknown(step, reading)


def _review(step: StepContext) -> Commit | None:
    """End the step by what the journal has about the message; None if it may have been charged."""
    runtime, job = step.runtime, step.job
    match review(runtime.journal, runtime.payments, job):
        case Withdrawn():
            return Commit(State.PREPARING)
        case AdoptAttempt() as payment:
            return adopt_payment(step, payment)
        case MaybeCharged():
            return None


def _review_draft(step: StepContext) -> Commit | None:
    """End the step if the draft is not that of the message on record; None if it is the job's.

    If the message was never sent, its intent is withdrawn: the message of an earlier turn has made
    the draft, or none of this job has.
    """
    runtime = step.runtime
    match review(runtime.journal, runtime.payments, step.job):
        case AdoptAttempt() as payment:
            return adopt_payment(step, payment)
        case Withdrawn():
            step.use_record(runtime.ledger.job(step.job.id) or step.job)
            return None if step.job.turns else Commit(State.PREPARING)
        case MaybeCharged():
            return None


def _has_later_message(step: StepContext) -> bool:
    """Return whether another message was sent in the session after the job's own."""
    job = step.job
    last = step.runtime.ledger.last_message(job.message_session)
    if last is None:
        return False
    # A turn without a message is settled in two cases: after a question, or when a person accepted
    # the draft.
    return last != job.call if job.call else last not in {turn.call for turn in job.turns}


def _finish_after_later_message(step: StepContext) -> Commit:
    """End the step by the draft in the later message's journal entry; else hold the job.

    The later message has made the current draft, which is therefore not offered as this job's.
    """
    finished = finish_from_next_message(step)
    if finished is not None:
        return finished
    return hold(
        step,
        Reason.OUTCOME_UNKNOWN,
        "Another message was sent later in the project of this job, and the current draft of the "
        "project belongs to that message.",
        remedy=remedy_without_draft(step.job),
        facts={"as_done": ""},
    )


def _accept_draft(step: StepContext, state: SessionState) -> Commit:
    """Use the current draft as the job's result, as a person decided."""
    if (later := adopt_later_payment(step)) is not None:
        return later
    if state.draft.is_ready and state.fingerprint != step.job.fact("baseline"):
        return _done(step, state, "", {"as_done": ""})
    return hold(
        step,
        Reason.OUTCOME_UNKNOWN,
        "The current draft of the project contains nothing of this job that can be exported.",
        facts={"as_done": ""},
    )


def _evidence(step: StepContext, reading: _Reading) -> Evidence:
    job, stream = step.job, reading.stream
    previous = job.fact("last_reading")
    return Evidence(
        ended_cleanly=bool(stream.get("clean")),
        asks_question=asks_question(str(stream.get("reply") or "")),
        # An event that could not be read may have been tool activity, which rules out a question.
        has_tool_activity=bool(stream.get("tools") or stream.get("skipped")),
        baseline=job.facts.get("baseline", ""),
        previous=StateReading(*json.loads(previous)) if previous else None,
        current=StateReading(reading.state.fingerprint, reading.state.draft.is_ready),
        readings=reading.number,
        seconds_since_sent=(step.clock.now_ms() - job.sent_at) / 1000,
    )


def _done(step: StepContext, state: SessionState, text: str, facts: dict[str, str]) -> Commit:
    """Keep this draft for all exports of the job, so that later edits do not change its clip."""
    facts = {**facts, **draft_facts(step, state.draft, text), **first_render(step)}
    return continue_in(State.RENDERING, facts, outcome="done")


def _answer(step: StepContext, question: str, facts: dict[str, str]) -> Commit:
    """Answer the agent's first question in a new turn. A second question holds the job."""
    if any(turn.outcome == "question" for turn in step.job.turns):
        return hold(
            step,
            Reason.QUESTION,
            f"The agent asked a second question: {question}",
            facts={"reply": question},
        )
    facts = {**facts, "reply": question, "readings": "0", "last_reading": ""}
    return continue_in(State.GENERATING, facts, outcome="question")


def _hold_changed_after_question(step: StepContext, reading: _Reading) -> Commit:
    """Hold a job whose project changed after a question that was not answered yet."""
    message = (
        f"The agent asked: {step.job.fact('reply') or 'a question'} The project has changed since, "
        f"but {reading.number} readings of it show no finished clip."
    )
    return hold(step, Reason.QUESTION, message, facts={**reading.facts, "tries": "0"})


def _hold_unknown(step: StepContext, reading: _Reading) -> Commit:
    message = (
        f"The message was sent, {_stream_end(reading.stream)}, and {reading.number} readings of "
        f"the project show no finished clip. The message may have been charged: "
        f"{describe_charge(step)}."
    )
    if step.uses_shared_session:
        message += " The batch is paused until you decide."
    return hold(step, Reason.OUTCOME_UNKNOWN, message, facts={**reading.facts, "tries": "0"})


def _stream_end(stream: Stream) -> str:
    if stream.get("error"):
        return f"its stream reported an error ({stream['error']})"
    if stream.get("clean"):
        return "its stream ended cleanly"
    return "its stream broke" if stream else "the worker died while it read the stream"
