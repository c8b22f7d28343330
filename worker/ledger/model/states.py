"""The states of a job, and the closed list of reasons for a hold or a failure."""

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """The state of a job. A running state has the name of its stage."""

    QUEUED = "queued"  # in a flow, waiting for a slot
    PREPARING = "preparing"  # image, session, upload
    GENERATING = "generating"  # the paid message and its stream
    SETTLING = "settling"  # reading what the message did
    RENDERING = "rendering"  # export and polls
    DELIVERING = "delivering"  # download, check, publish
    HELD = "held"  # waits for a decision, or for credits
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_end(self) -> bool:
        """Whether the job has ended. It continues only if somebody retries it."""
        return self in ENDS

    @property
    def is_running(self) -> bool:
        """Whether the job is on the agenda."""
        return self in RUNNING

    def is_after(self, other: "State") -> bool:
        """Whether it is a later stage than another running state."""
        return STAGE_ORDER.index(self) > STAGE_ORDER.index(other)


ENDS = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})

PRIORITY_WEIGHTS: Final = {"high": 16, "normal": 4, "low": 1}
"""The shares of the priorities: 16 jobs of high priority start for each one of low priority."""

STAGE_ORDER: Final = (
    State.PREPARING,
    State.GENERATING,
    State.SETTLING,
    State.RENDERING,
    State.DELIVERING,
)
"""The running states in the order in which a job without trouble passes them."""
RUNNING = frozenset(STAGE_ORDER)

SESSION_STATES = frozenset({State.PREPARING, State.GENERATING, State.SETTLING})
"""States in which a job works in its session."""


class Reason(StrEnum):
    """Why a job is held or failed. The names are part of the public interface."""

    # held
    CREDITS = "credits"
    BUDGET = "budget"
    TOKEN = "token"  # noqa: S105 - the name of a reason, not a secret
    PLAN = "plan"
    OUTCOME_UNKNOWN = "outcome_unknown"
    QUESTION = "question"
    SESSION_LOST = "session_lost"
    RENDER_SLOW = "render_slow"
    POISON = "poison"
    BLOCKED = "blocked"
    STORE = "store"
    CLIP_INCOMPLETE = "clip_incomplete"
    # failed
    UNSUPPORTED_FILE = "unsupported_file"
    FILE_TOO_LARGE = "file_too_large"
    BAD_IMAGE = "bad_image"
    BAD_REQUEST = "bad_request"
    SOURCE_UNREACHABLE = "source_unreachable"
    FORBIDDEN_SOURCE = "forbidden_source"
    RENDER_FAILED = "render_failed"
    DELIVERY_FAILED = "delivery_failed"
    BAD_CLIP = "bad_clip"
    KEY_CONFLICT = "key_conflict"


HOLD_REASONS = frozenset(
    {
        Reason.CREDITS,
        Reason.BUDGET,
        Reason.TOKEN,
        Reason.PLAN,
        Reason.OUTCOME_UNKNOWN,
        Reason.QUESTION,
        Reason.SESSION_LOST,
        Reason.RENDER_SLOW,
        Reason.POISON,
        Reason.BLOCKED,
        Reason.STORE,
        Reason.CLIP_INCOMPLETE,
    }
)

POISON_REMEDY: Final = "Read the workers' logs, then run `reelqueue release %s`."
"""What people can do about a job that is held as ``poison``, with a place for its id."""

UNDECIDED: Final = frozenset({Reason.OUTCOME_UNKNOWN, Reason.SESSION_LOST, Reason.QUESTION})
"""Reasons of a job that continues only after a person has decided whether it pays again."""
