"""The budget of a batch: the most credits that it may spend in total."""

import math
from itertools import islice

from tasks.producer.actions import Change
from tasks.producer.producer import Producer
from tasks.schema.errors import InvalidPayloadError, UnknownId
from worker.ledger.model.states import Reason
from worker.ledger.model.verdicts import ReleaseVerdict


def set_budget(producer: Producer, batch_id: str, max_credits: float) -> Change:
    """Set the budget of a batch, and release as many jobs that are held for it as it covers.

    Raises:
        UnknownId: There is no such batch.
        InvalidPayloadError: The number is negative or infinite.
        RedisUnavailable: Redis does not answer.
    """
    if not (math.isfinite(max_credits) and max_credits >= 0):
        raise InvalidPayloadError(["max_credits: must be a number of credits, 0 or more"])
    with producer.redis_errors():
        if producer.ledger.batch(batch_id) is None:
            raise UnknownId(f"There is no batch {batch_id}.")
        producer.ledger.set_budget(batch_id, max_credits)
        released, held = release_affordable(producer, batch_id)
    left = held - released
    return Change(batch_id, released, {"budget": left} if left else {})


def release_affordable(producer: Producer, batch_id: str) -> tuple[int, int]:
    """Release as many jobs that are held for the budget of a batch as the budget covers.

    Returns:
        How many jobs were released, and how many were held for the budget before.
    """
    ledger = producer.ledger
    batch = ledger.batch(batch_id)
    held = batch.held_by.get(Reason.BUDGET, 0) if batch else 0
    if batch is None or batch.max_credits is None or not held:
        return 0, held
    left = (batch.max_credits - batch.committed) // producer.clip_price()
    job_ids = (
        job.job_id
        for page in ledger.row_states(batch_id)
        for job in page
        if job.reason == Reason.BUDGET
    )
    verdicts = ledger.release_many(list(islice(job_ids, max(0, int(min(left, batch.total))))))
    return verdicts.count(ReleaseVerdict.OK), held
