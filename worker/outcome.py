"""Decide whether a paid message worked: from readings of the state, never from its stream alone.

Source: docs/video-api.md, "The message stream". Nothing in this module reads or writes.
"""

from dataclasses import dataclass
from enum import StrEnum


class MessageOutcome(StrEnum):
    """What the readings so far show."""

    DONE = "done"  # the draft is complete
    WAIT = "wait"  # not decided yet: read the state again
    QUESTION = "question"  # the agent asked a question and changed nothing
    UNKNOWN = "unknown"  # no result, and the message's time is over


@dataclass(frozen=True, slots=True)
class StateReading:
    """One reading of the session's state."""

    fingerprint: str
    ready: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about a paid message after a reading of the state.

    Attributes:
        ended_cleanly: The stream ended by itself and contained no error.
        asks_question: The stream's text reads as a question to the user.
        has_tool_activity: The stream showed tool activity.
        baseline: Fingerprint of the state before the message.
        previous: The reading before the current one, if any.
        current: The current reading.
        readings: Readings so far, including the current one.
        seconds_since_sent: Seconds since the intent to send the message was written.
    """

    ended_cleanly: bool
    asks_question: bool
    has_tool_activity: bool
    baseline: str
    previous: StateReading | None
    current: StateReading
    readings: int
    seconds_since_sent: float


def message_outcome(
    evidence: Evidence, *, min_readings: int, message_seconds: float
) -> MessageOutcome:
    """Decide the outcome of a message.

    Args:
        evidence: What is known about the message.
        min_readings: Readings without a result before the outcome counts as unknown.
        message_seconds: How long a message may run; its outcome is not unknown before that.
    """
    is_changed = evidence.current.fingerprint != evidence.baseline
    is_stable = evidence.current == evidence.previous
    if is_changed and evidence.current.ready and (evidence.ended_cleanly or is_stable):
        return MessageOutcome.DONE
    # A clean end after a text that asks nothing proves nothing: the agent may still be working.
    is_question = evidence.asks_question and not evidence.has_tool_activity
    if evidence.ended_cleanly and is_question and not is_changed and is_stable:
        return MessageOutcome.QUESTION
    is_over = evidence.seconds_since_sent >= message_seconds
    if is_over and evidence.readings >= min_readings:
        return MessageOutcome.UNKNOWN
    return MessageOutcome.WAIT


def may_have_later_turn(evidence: Evidence, *, message_seconds: float) -> bool:
    """Return whether a turn may have been opened after this message, and the ledger has lost it.

    A turn is opened after a question, or by a person after an unknown outcome, which no message has
    before its limit. If the stream did not end cleanly, the record may lack its end.

    Args:
        evidence: What is known about the message.
        message_seconds: How long a message may run.
    """
    is_over = evidence.seconds_since_sent >= message_seconds
    return not evidence.ended_cleanly or evidence.asks_question or is_over
