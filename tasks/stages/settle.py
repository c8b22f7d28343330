"""Settle: read the state until it says what the message did."""

import json
from typing import Any

import structlog

from tasks.stages.reply import question_of, reply_of
from tasks.step.context import Step
from tasks.step.session_acquisition import uses_shared_session
from worker.ledger.ledger import Commit
from worker.ledger.model.states import Reason, State
from worker.nemo import client as nemo
from worker.nemo.errors import NemoError
from worker.outcome import Evidence, MessageOutcome, StateReading, message_outcome

log = structlog.get_logger(__name__)


def settle(step: Step) -> Commit:
    """Read once, judge, and either go on, come back later, or hold."""
    job, settings = step.job, step.runtime.settings
    with step.runtime.clients.open(step.token()) as client:
        state = client.state(job.facts["session_id"])
    if _spoken_since(step):
        return step.hold(
            Reason.OUTCOME_UNKNOWN,
            "Another message was sent in its project since, so the present draft is not its own.",
            facts={"as_done": ""},
        )
    if job.fact("as_done"):
        return _as_done(step, state)
    heard: dict[str, Any] = json.loads(job.call_fact("stream") or "{}")
    reading = StateReading(state.fingerprint, state.ready)
    previous = job.fact("last_reading")
    readings = job.number("readings") + 1
    outcome = message_outcome(
        Evidence(
            ended_cleanly=bool(heard.get("clean")),
            has_text=bool(heard.get("reply")),
            # What could not be read may have been tool activity: no question is read into it.
            has_tool_activity=bool(heard.get("tools") or heard.get("skipped")),
            baseline=job.facts.get("baseline", ""),
            previous=StateReading(*json.loads(previous)) if previous else None,
            current=reading,
            readings=readings,
            seconds_since_sent=(step.runtime.ledger.now_ms() - job.sent_at) / 1000,
        ),
        min_readings=settings.timing.settle_checks,
        # The sender's own limit is kept by a pulse, up to a lease later.
        message_seconds=settings.timing.stream_timeout_seconds + settings.timing.lease_seconds,
    )
    facts = {
        "readings": str(readings),
        "last_reading": json.dumps([reading.fingerprint, reading.ready]),
        "tries": "0",
    }
    match outcome:
        case MessageOutcome.DONE:
            return _done(step, state, str(heard.get("reply") or ""), facts)
        case MessageOutcome.WAIT:
            return Commit(State.SETTLING, delay=settings.timing.settle_seconds, facts=facts)
        case MessageOutcome.QUESTION:
            return _question(step, question_of(str(heard["reply"])), facts)
        case MessageOutcome.UNKNOWN:
            return step.hold(
                Reason.OUTCOME_UNKNOWN,
                f"The message was sent, its stream {_how(heard)}, and {readings} readings of the "
                f"project show no finished clip. It may have been charged: {_balances(step)}."
                + (
                    " Its batch is paused until this is decided."
                    if uses_shared_session(step)
                    else ""
                ),
                facts=facts,
            )


def _spoken_since(step: Step) -> bool:
    """Whether somebody else has sent a message in the job's session since its own."""
    last = step.runtime.ledger.last_message(step.job.facts["session_id"])
    return last is not None and step.job.call is not None and last != step.job.call


def _done(step: Step, state: nemo.State, said: str, facts: dict[str, str]) -> Commit:
    """The draft is kept: every export of this job uses this one, whatever comes later."""
    job, timeline = step.job, state.draft.timeline()
    account = step.runtime.ledger.account(job.facts["account"]) if job.fact("account") else None
    return Commit(
        State.RENDERING,
        outcome="done",
        facts={
            **facts,
            "draft": state.draft.pack(),
            "timeline": timeline,
            "reply": reply_of(job, said, timeline, account),
        },
    )


def _as_done(step: Step, state: nemo.State) -> Commit:
    if state.ready and state.fingerprint != step.job.fact("baseline"):
        return _done(step, state, "", {"as_done": "", "tries": "0"})
    return step.hold(
        Reason.OUTCOME_UNKNOWN,
        "The project's present draft has nothing of this job to export.",
        facts={"as_done": ""},
    )


def _question(step: Step, question: str, facts: dict[str, str]) -> Commit:
    """Answered once, by the job's own instructions; a second question is for a person."""
    if any(turn.outcome == "question" for turn in step.job.turns):
        return step.hold(
            Reason.QUESTION, f"The agent asks again: {question}", facts={"reply": question}
        )
    return Commit(
        State.GENERATING,
        outcome="question",
        facts={**facts, "reply": question, "readings": "0", "last_reading": ""},
    )


def _balances(step: Step) -> str:
    """The account's total before the message and now, as far as both are known."""
    balance_monitor, ledger = step.runtime.balance_monitor, step.runtime.ledger
    try:
        balance_monitor.read_balance(step.credential())
    except NemoError as error:
        log.info("the balance could not be read", error=str(error))
    before = next(
        (turn.balance_before for turn in step.job.turns if turn.call == step.job.call), None
    )
    account = ledger.account(step.account)
    was = "not known" if before is None else f"{before:g}"
    now = f"{account.total:g}" if account.is_read else "not known"
    return f"{account.name} held {was} credits before it and holds {now} now"


def _how(heard: dict[str, Any]) -> str:
    if heard.get("error"):
        return f"reported an error ({heard['error']})"
    if heard.get("clean"):
        return "ended cleanly"
    return "broke" if heard else "was lost with the worker that heard it"
