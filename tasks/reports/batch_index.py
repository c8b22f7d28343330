"""The index of a batch: the table `manifest.csv` beside its clips in the output store.

It is written when the batch ends and when its results are requested, and outlives the records of
the jobs: once some of these have been pruned, it is not written again.
"""

from pathlib import Path
from typing import Final

import structlog

from tasks.producer import queries
from tasks.producer.producer import Producer
from tasks.reports.export import write_csv
from tasks.schema.clip_names import batch_folder
from worker.resources.scratch import scratch_folder
from worker.storage.errors import StoreError

log = structlog.get_logger(__name__)

NAME: Final = "manifest.csv"


def write_batch_index(producer: Producer, batch_id: str) -> None:
    """Write the index of a batch, unless the batch is empty or some of its jobs were pruned.

    Raises:
        StoreError: The index could not be stored. The one before it is still there.
        RedisUnavailable: Redis does not answer.
    """
    with producer.redis_errors():
        batch = producer.ledger.batch(batch_id)
        pruned = producer.ledger.redis.hget(producer.ledger.key("batch", batch_id), "pruned")
    if batch is None or not batch.total or pruned:
        return
    with scratch_folder() as folder:
        path = Path(folder) / NAME
        with path.open("w", encoding="utf-8", newline="") as sink:
            write_csv(lambda: queries.list_batch_jobs(producer, batch_id), sink)
        producer.output.put_file(path, f"{batch_folder(batch)}/{NAME}")


def write_index_of_ended(producer: Producer, batch_id: str) -> None:
    """Write the index of a batch that has ended, unless it was written for the same counters.

    If the store fails, only a warning is logged: the index is written again at the next end, or
    by `reelqueue results`.
    """
    ledger = producer.ledger
    batch = ledger.batch(batch_id)
    if batch is None or batch.open or not batch.sealed:
        return
    key = ledger.key("batch", batch_id)
    counts = " ".join(f"{state}={n}" for state, n in sorted(batch.counts.items()))
    if ledger.redis.hget(key, "inventory") == counts:
        return
    ledger.redis.hset(key, "inventory", counts)
    try:
        write_batch_index(producer, batch_id)
    except StoreError as error:
        log.warning("batch index not written", error=error.message)
