"""The public records of jobs and batches, made from what the ledger holds."""

import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from tasks.schema.estimates import ahead_of_last, seconds_for, waiting_of
from tasks.schema.image_job import (
    Batch,
    Decision,
    Progress,
    Quality,
    QualityFinding,
    ReasonDetail,
    Result,
    Session,
    Video,
)
from worker.ledger.model import batches
from worker.ledger.model import jobs as records
from worker.ledger.model.states import State
from worker.storage.store import Store

STATE_MESSAGES: Final = {
    State.QUEUED: "Waits for its turn.",
    State.PREPARING: "Checks and uploads the image.",
    State.GENERATING: "The clip is being generated.",
    State.SETTLING: "Reads what came of the generation.",
    State.RENDERING: "The clip is being rendered.",
    State.DELIVERING: "Fetches and checks the clip.",
    State.HELD: "Held.",
    State.SUCCEEDED: "Done.",
    State.FAILED: "Failed.",
    State.CANCELLED: "Cancelled.",
}


def result_of(job: records.Job, output: Store, *, now: float | None = None) -> Result:
    """The public record of a job; of one whose facts make no sense, what is left.

    Args:
        job: The job as the ledger has it.
        output: The store of the finished clips, which knows their addresses.
        now: Seconds since the epoch; the present if None.
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
        # They are JSON that this service wrote, and nobody checks again before it is shown.
        return _result(
            records.placeholder_for(job, f"{type(error).__name__}: {error}"), output, now
        )


def _result(job: records.Job, output: Store, now: float | None) -> Result:
    payload = job.payload
    return Result(
        job_id=job.id,
        batch_id=job.batch_id,
        parent_id=job.parent_id,
        row=job.number("row") or None,
        state=job.state,
        reason=_why(job),
        image=str(payload["image"]),
        prompt=str(payload.get("prompt", "")),
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
        progress=Progress(stage=job.state, message=_progress(job), since=_moment(job.entered_at)),
        attempts=job.attempts,
        cancel_requested=job.cancel_requested,
        created_at=_moment(job.created_at),
        started_at=_moment(job.started_at) if job.started_at else None,
        finished_at=_moment(job.finished_at) if job.finished_at else None,
        seconds_in=_seconds_in(job, time.time() if now is None else now),
        decisions=tuple(_decisions(job)),
        changes=tuple(json.loads(job.fact("changes") or "[]")),
        data=payload.get("data", {}),
        webhook_error=job.fact("webhook_error"),
    )


def batch_of(
    batch: batches.Batch, *, clip_cost: float, pace: batches.Pace, flows: Mapping[str, int]
) -> Batch:
    """The public record of a batch, from its counters alone, however large it is.

    The ledger keeps one sum of what the batch's messages cost at the estimate. What of it is
    still reserved is itself estimated: the jobs that generate or settle, at the price of a clip.

    Args:
        batch: The batch as the ledger has it.
        clip_cost: The estimated price of a clip, in credits.
        pace: What clips took lately.
        flows: What waits in each active flow, ours and others'.
    """
    counts = {state: batch.counts.get(state, 0) for state in State}
    under_way = counts[State.GENERATING] + counts[State.SETTLING]
    reserved = min(batch.committed, under_way * clip_cost)
    return Batch(
        batch_id=batch.id,
        name=batch.name,
        sealed=batch.sealed,
        paused=batch.paused,
        blocked_by=batch.blocked_by,
        total=batch.total,
        open=batch.open,
        queued=counts[State.QUEUED],
        running=batch.running,
        held=counts[State.HELD],
        succeeded=counts[State.SUCCEEDED],
        failed=counts[State.FAILED],
        cancelled=counts[State.CANCELLED],
        held_by=dict(batch.held_by),
        credits_spent=batch.committed - reserved,
        credits_reserved=reserved,
        eta_seconds=_eta(batch, pace, flows),
        webhook_error=batch.webhook_error,
    )


def _eta(batch: batches.Batch, pace: batches.Pace, flows: Mapping[str, int]) -> float | None:
    """Until all that is open is at an end; None while it is paused, or no worker is there."""
    if not batch.open:
        return 0.0
    if batch.paused or not pace.max_admitted:
        return None
    queued = batch.counts.get(State.QUEUED, 0)
    if batch.shared:
        return round(seconds_for(queued, batch.running, pace, places=1), 1)
    ahead = ahead_of_last(waiting_of(queued, flows, batch.id), flows, batch.id)
    seconds = seconds_for(queued, batch.running, pace, places=pace.max_admitted, ahead=ahead)
    return round(seconds, 1)


def _why(job: records.Job) -> ReasonDetail | None:
    if job.reason is None:
        return None
    return ReasonDetail(code=job.reason, message=job.message, remedy=job.remedy)


def _video(job: records.Job, output: Store) -> Video | None:
    text = job.fact("clip")
    if text is None:
        return None
    clip: dict[str, Any] = json.loads(text)
    path = output.local_path(clip["key"])
    return Video(
        url=output.url(clip["key"]),
        source_url=job.fact("source_url"),
        path=str(path) if path else None,
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
    """What the look found; None for a clip that was delivered before there was one."""
    if findings is None:
        return None
    return Quality(ok=not findings, findings=tuple(QualityFinding(**found) for found in findings))


def _decisions(job: records.Job) -> Iterator[Decision]:
    """What people decided about it, in order."""
    for made in json.loads(job.fact("decisions") or "[]"):
        yield Decision(choice=made["choice"], by=made["by"], at=_moment(made["at"]))


def _progress(job: records.Job) -> str:
    """What the stage itself says, if it has said something; else what its name says."""
    if job.state.is_running:
        if job.number("tries") and job.fact("trouble"):
            return f"Tries again: {job.fact('trouble')}"
        if job.number("progress_at") >= job.entered_at and job.fact("progress"):
            return str(job.fact("progress"))
    if job.state is State.CANCELLED or job.reason is None:
        return STATE_MESSAGES[job.state]
    return job.message or STATE_MESSAGES[job.state]


def _seconds_in(job: records.Job, now: float) -> dict[State, float]:
    spent = job.milliseconds_in
    if not job.state.is_end:
        here = max(0, int(now * 1000) - job.entered_at)
        spent[job.state] = spent.get(job.state, 0) + here
    return {state: milliseconds / 1000 for state, milliseconds in spent.items()}


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
