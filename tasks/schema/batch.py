"""The batch record: the public state of a batch, made from its counters in the ledger."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, uuid5

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt

from tasks.schema.estimates import (
    estimate_seconds,
    jobs_ahead,
    latest_seconds,
    waiting_by_priority,
)
from worker.ledger.model import batches
from worker.ledger.model.states import Reason, State


class Batch(BaseModel):
    """The record of one batch.

    ``open`` = ``queued`` + ``running``; ``total`` = ``open`` + ``held`` + ``succeeded`` +
    ``failed`` + ``cancelled``. ``credits_spent`` + ``credits_reserved`` is the estimated price of
    all messages that the batch has sent; messages without an outcome count as reserved.
    ``pilot`` is how many more jobs start before the batch is paused, ``max_credits`` its budget;
    each is None if it was not set.
    ``not_before`` is the time before which none of its jobs starts.
    ``blocked_by`` is the job whose unknown payment outcome blocks the batch's shared session.
    ``eta_seconds`` is how long the open jobs usually take, ``latest_seconds`` how long they take if
    each needs the longest time that the settings allow; None if that is not known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_id: str
    name: str
    created_at: datetime
    pilot: NonNegativeInt | None = None
    max_credits: NonNegativeFloat | None = None
    sealed: bool
    paused: bool
    not_before: datetime | None = None
    blocked_by: str | None = None
    total: NonNegativeInt
    open: NonNegativeInt
    queued: NonNegativeInt
    running: NonNegativeInt
    held: NonNegativeInt
    succeeded: NonNegativeInt
    failed: NonNegativeInt
    cancelled: NonNegativeInt
    held_by: Mapping[Reason, NonNegativeInt]
    credits_spent: NonNegativeFloat
    credits_reserved: NonNegativeFloat
    eta_seconds: NonNegativeFloat | None
    latest_seconds: NonNegativeFloat | None = None
    webhook_error: str | None = None


def batch_of(
    batch: batches.Batch,
    *,
    clip_cost: float,
    pace: batches.Pace,
    flows: Mapping[str, int],
    slowest: batches.Pace | None = None,
) -> Batch:
    """Return the record of a batch.

    The ledger has one sum for all messages of a batch. The part of it that is reserved is
    estimated as the price of one clip for each job that generates or settles.

    Args:
        batch: The batch in the ledger.
        clip_cost: The expected price of a clip, in credits.
        pace: How long recent clips took.
        flows: How many jobs wait in each active flow.
        slowest: The longest time that a clip may take; None if that is not known.
    """
    counts = {state: batch.counts.get(state, 0) for state in State}
    undecided = counts[State.GENERATING] + counts[State.SETTLING]
    reserved = min(batch.committed, undecided * clip_cost)
    usual, latest = _seconds_left(batch, counts[State.QUEUED], pace, flows, slowest)
    return Batch(
        batch_id=batch.id,
        name=batch.name,
        created_at=datetime.fromtimestamp(batch.created_at / 1000, UTC),
        pilot=batch.pilot,
        max_credits=batch.max_credits,
        sealed=batch.sealed,
        paused=batch.paused,
        not_before=_utc(batch.not_before),
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
        eta_seconds=usual,
        latest_seconds=latest,
        webhook_error=batch.webhook_error,
    )


def _seconds_left(
    batch: batches.Batch,
    queued: int,
    pace: batches.Pace,
    flows: Mapping[str, int],
    slowest: batches.Pace | None,
) -> tuple[float | None, float | None]:
    """Estimate the seconds until no job is open: the usual and the longest time.

    Both are None if the batch is paused, or if no worker is running.
    """
    if not batch.open:
        return 0.0, 0.0
    if batch.paused or not pace.max_admitted:
        return None, None
    # The rows of a shared session run one after another, whatever else waits.
    concurrency, ahead = 1, 0
    if not batch.shared:
        concurrency = pace.max_admitted
        ahead = jobs_ahead(waiting_by_priority(queued, flows, batch.id), flows, batch.id)
    load = (queued, batch.running)
    usual = estimate_seconds(*load, pace, concurrency=concurrency, ahead=ahead)
    wait = _seconds_until(batch.not_before) if queued else 0.0
    if slowest is None:
        return round(wait + usual, 1), None
    latest = latest_seconds(*load, slowest, concurrency=concurrency, ahead=ahead)
    return round(wait + usual, 1), round(wait + max(usual, latest), 1)


def batch_id_for(name: str) -> str:
    """Return the id of the batch with a name.

    A corrected manifest that is submitted again under its name is the same batch. The rows that
    were accepted before are duplicates, and are not paid for again.
    """
    return str(uuid5(NAMESPACE_URL, f"reelqueue:batch:{name}"))


def _utc(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


def _seconds_until(milliseconds: int | None) -> float:
    return max(0.0, (milliseconds or 0) / 1000 - time.time())
