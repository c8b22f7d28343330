"""The batch record: the public state of a batch, made from its counters in the ledger."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt

from tasks.schema.estimates import estimate_seconds, jobs_ahead, waiting_by_priority
from worker.ledger.model import batches
from worker.ledger.model.states import Reason, State


class Batch(BaseModel):
    """The record of one batch.

    ``open`` = ``queued`` + ``running``; ``total`` = ``open`` + ``held`` + ``succeeded`` +
    ``failed`` + ``cancelled``. ``credits_spent`` + ``credits_reserved`` is the estimated price of
    all messages that the batch has sent; messages without an outcome count as reserved.
    ``blocked_by`` is the job whose unknown payment outcome blocks the batch's shared session.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_id: str
    name: str
    sealed: bool
    paused: bool
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
    webhook_error: str | None = None


def batch_of(
    batch: batches.Batch,
    *,
    clip_cost: float,
    pace: batches.Pace,
    flows: Mapping[str, int],
) -> Batch:
    """Return the record of a batch.

    The ledger keeps one sum for the messages of a batch. The reserved part of it is estimated: one
    clip for each job that generates or settles.

    Args:
        batch: The batch in the ledger.
        clip_cost: The expected price of a clip, in credits.
        pace: How long recent clips took.
        flows: How many jobs wait in each active flow.
    """
    counts = {state: batch.counts.get(state, 0) for state in State}
    unsettled = counts[State.GENERATING] + counts[State.SETTLING]
    reserved = min(batch.committed, unsettled * clip_cost)
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
        eta_seconds=_eta_seconds(batch, counts[State.QUEUED], pace, flows),
        webhook_error=batch.webhook_error,
    )


def _eta_seconds(
    batch: batches.Batch, queued: int, pace: batches.Pace, flows: Mapping[str, int]
) -> float | None:
    """Estimate when no job is open. None if the batch is paused or there is no worker."""
    if not batch.open:
        return 0.0
    if batch.paused or not pace.max_admitted:
        return None
    # The rows of a shared session run one after another, whatever else waits.
    concurrency, ahead = 1, 0
    if not batch.shared:
        concurrency = pace.max_admitted
        ahead = jobs_ahead(waiting_by_priority(queued, flows, batch.id), flows, batch.id)
    seconds = estimate_seconds(queued, batch.running, pace, concurrency=concurrency, ahead=ahead)
    return round(seconds, 1)
