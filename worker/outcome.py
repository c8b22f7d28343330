"""Did the message work? Decided from readings of the state, never from the stream alone.

Source: the contract, «The message stream». Pure: facts in, verdict out.
"""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What the readings say."""

    DONE = "done"  # the draft is there, and settled
    WAIT = "wait"  # read again
    QUESTION = "question"  # the agent asked something and did nothing
    UNKNOWN = "unknown"  # nothing came, and nothing will


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of the session's state."""

    fingerprint: str
    ready: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a paid message when a reading is judged.

    Attributes:
        ended_clean: The stream ended by itself, and without an error in it.
        said_something: The stream held text for the user.
        used_tools: The stream showed tool activity.
        baseline: Fingerprint of the state before the message.
        previous: The reading before this one, if any.
        checks: Readings so far, this one included.
        sent_ago: Seconds since the message was sent.
    """

    ended_clean: bool
    said_something: bool
    used_tools: bool
    baseline: str
    previous: Reading | None
    checks: int
    sent_ago: float


def judge(evidence: Evidence, reading: Reading, *, checks: int, message_limit: float) -> Verdict:
    """Judge one reading.

    Args:
        evidence: What is known besides.
        reading: The present reading.
        checks: Readings without a result that are tried at least.
        message_limit: Seconds that a message may run; before they are over nothing is given up.
    """
    changed = reading.fingerprint != evidence.baseline
    equal = reading == evidence.previous
    if changed and reading.ready and (evidence.ended_clean or equal):
        return Verdict.DONE
    asked = evidence.ended_clean and evidence.said_something and not evidence.used_tools
    if asked and not changed and equal:
        return Verdict.QUESTION
    if evidence.checks >= checks and evidence.sent_ago >= message_limit:
        return Verdict.UNKNOWN
    return Verdict.WAIT
