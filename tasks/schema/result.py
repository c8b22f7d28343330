"""The result record: the public state of a job, made from its record in the ledger."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    SerializeAsAny,
)

from tasks.schema.image_job import Priority
from worker.ledger.model.jobs import Job, placeholder_for
from worker.ledger.model.states import Reason, State
from worker.storage.store import Store

STATE_MESSAGES: Final = {
    State.QUEUED: "The job is waiting in the queue.",
    State.PREPARING: "The image is being checked and uploaded.",
    State.GENERATING: "The clip is being generated.",
    State.SETTLING: "The result of the generation is being read.",
    State.RENDERING: "The clip is being rendered.",
    State.DELIVERING: "The clip is being downloaded and checked.",
    State.HELD: "Held.",
    State.SUCCEEDED: "Done.",
    State.FAILED: "Failed.",
    State.CANCELLED: "Cancelled.",
}


SHOWN_FACTS: Final = (
    *("row", "replaced_by", "clip", "source_url", "reply", "timeline", "session_id", "task_id"),
    *("claim_url", "render_id", "tries", "trouble", "progress", "progress_at", "decisions"),
    *("changes", "webhook_error"),
)
"""The facts of a job that its result record is made from."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReasonDetail(_Record):
    """Why a job is held or failed, and what to do about it."""

    code: Reason
    message: str
    remedy: str


class QualityFinding(_Record):
    """A flaw that was found in a clip: a code and a sentence."""

    code: str
    message: str


class Quality(_Record):
    """The flaws that were found in a finished clip; ``ok`` if there are none."""

    ok: bool
    findings: tuple[QualityFinding, ...]


_GOOD: Final = Quality(ok=True, findings=())


class Video(_Record):
    """The finished clip, as measured from its file: bytes, pixels and seconds."""

    url: str
    source_url: str | None
    path: str | None
    bytes: NonNegativeInt
    sha256: str
    width: NonNegativeInt
    height: NonNegativeInt
    seconds: NonNegativeFloat
    codec: str
    poster: str | None
    quality: Quality | None


class LinkedVideo(Video):
    """A clip in an object store, with links that expire. The links are never stored."""

    link: str
    poster_link: str | None
    link_expires_at: datetime


class Session(_Record):
    """The session at the video API. The claim link opens it in a browser."""

    session_id: str | None
    task_id: str | None
    claim_url: str | None


class Progress(_Record):
    """The job's state, a sentence about it, and when the job entered it."""

    stage: State
    message: str
    since: datetime


class Decision(_Record):
    """What a person decided about a payment of unknown outcome, who it was, and when."""

    choice: Literal["pay_again", "as_done"]
    by: str
    at: datetime


class Result(_Record):
    """The record of one job. Times are UTC, durations are seconds.

    ``row`` is the job's row in the manifest of its batch; ``replaced_by`` is the job that the row
    has now, if it is another one. ``credits_spent`` is the price of the job's messages. If
    ``credits_estimated`` is true, the charge of at least one message is not known, and the expected
    price of a clip is counted for it. ``webhook_error`` says why a webhook was not delivered.
    """

    job_id: str
    batch_id: str | None
    parent_id: str | None
    replaced_by: str | None = None
    row: NonNegativeInt | None
    state: State
    reason: ReasonDetail | None
    image: str
    prompt: str
    aspect: str | None = None
    priority: Priority
    video: SerializeAsAny[Video] | None
    reply: str | None
    timeline: str | None
    session: Session
    render_id: str | None
    paid_messages: NonNegativeInt
    credits_spent: NonNegativeFloat
    credits_estimated: bool
    progress: Progress
    attempts: Annotated[
        NonNegativeInt,
        Field(
            description="How often a worker has claimed the job: at least once for each step, so "
            "that a job without trouble has several. It is no count of failures."
        ),
    ]
    cancel_requested: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    seconds_in: Mapping[State, NonNegativeFloat]
    decisions: tuple[Decision, ...]
    changes: tuple[str, ...]
    data: Mapping[str, Any]
    webhook_error: str | None = None

    @property
    def ended_or_held(self) -> bool:
        """Whether the job has ended, or waits for a person or an event."""
        return self.state.is_end or self.state is State.HELD


def result_of(job: Job, output: Store, *, now: float | None = None) -> Result:
    """Return the record of a job. If its facts are damaged, the record says so instead.

    Args:
        job: The job in the ledger.
        output: The store of the finished clips.
        now: Seconds since the epoch; the current time if None.
    """
    try:
        return _result(job, output, now)
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        # The facts are JSON that was not checked when it was read from the ledger.
        placeholder = placeholder_for(job, f"{type(error).__name__}: {error}")
        return _result(placeholder, output, now)


def _result(job: Job, output: Store, now: float | None) -> Result:
    payload = job.payload
    return Result(
        job_id=job.id,
        batch_id=job.batch_id,
        parent_id=job.parent_id,
        replaced_by=job.fact("replaced_by"),
        row=job.number("row") or None,
        state=job.state,
        reason=_reason(job),
        image=str(payload["image"]),
        prompt=str(payload.get("prompt", "")),
        aspect=payload.get("aspect"),
        priority=payload.get("priority", "normal"),
        video=_video(job, output),
        reply=job.fact("reply"),
        timeline=job.fact("timeline"),
        session=Session(
            session_id=job.fact("session_id"),
            task_id=job.fact("task_id"),
            claim_url=job.fact("claim_url"),
        ),
        render_id=job.fact("render_id"),
        paid_messages=job.paid_messages,
        credits_spent=sum(turn.cost for turn in job.turns),
        credits_estimated=any(not turn.charged for turn in job.turns),
        progress=Progress(
            stage=job.state, message=_progress_message(job), since=_utc(job.entered_at)
        ),
        attempts=job.attempts,
        cancel_requested=job.cancel_requested,
        created_at=_utc(job.created_at),
        started_at=_utc(job.started_at) if job.started_at else None,
        finished_at=_utc(job.finished_at) if job.finished_at else None,
        seconds_in=_seconds_in(job, time.time() if now is None else now),
        decisions=tuple(_decisions(job)),
        changes=tuple(_list(job, "changes")),
        data=payload.get("data", {}),
        webhook_error=job.fact("webhook_error"),
    )


def _reason(job: Job) -> ReasonDetail | None:
    if job.reason is None:
        return None
    return ReasonDetail(code=job.reason, message=job.message, remedy=job.remedy)


def _video(job: Job, output: Store) -> Video | None:
    text = job.fact("clip")
    if text is None:
        return None
    clip: dict[str, Any] = json.loads(text)
    return Video(
        url=output.url(clip["key"]),
        source_url=job.fact("source_url"),
        path=output.local_path(clip["key"]),
        bytes=clip["bytes"],
        sha256=clip["sha256"],
        width=clip["width"],
        height=clip["height"],
        seconds=clip["seconds"],
        codec=clip["codec"],
        poster=output.url(clip["poster"]) if clip.get("poster") else None,
        quality=_quality(clip.get("findings")),
    )


def _quality(findings: list[dict[str, str]] | None) -> Quality | None:
    """Return the findings of the quality check; None for a clip that was never checked."""
    if findings is None:
        return None
    if not findings:
        return _GOOD
    return Quality(ok=False, findings=tuple(QualityFinding(**found) for found in findings))


def _list(job: Job, fact: str) -> Sequence[Any]:
    text = job.fact(fact)
    if text is None or text == "[]":
        return ()
    found: list[Any] = json.loads(text)
    return found


def _decisions(job: Job) -> Iterator[Decision]:
    for made in _list(job, "decisions"):
        yield Decision(choice=made["choice"], by=made["by"], at=_utc(made["at"]))


def _progress_message(job: Job) -> str:
    """Return the last progress message of the running stage, else a sentence about the state."""
    if job.state.is_running:
        if job.number("tries") and job.fact("trouble"):
            return f"Retrying: {job.fact('trouble')}"
        if job.number("progress_at") >= job.entered_at and job.fact("progress"):
            return str(job.fact("progress"))
    if job.state is State.CANCELLED or job.reason is None:
        return STATE_MESSAGES[job.state]
    return job.message or STATE_MESSAGES[job.state]


def _seconds_in(job: Job, now: float) -> dict[State, float]:
    spent = job.milliseconds_in
    if not job.state.is_end:
        current = max(0, int(now * 1000) - job.entered_at)
        spent[job.state] = spent.get(job.state, 0) + current
    return {state: milliseconds / 1000 for state, milliseconds in spent.items()}


def _utc(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
