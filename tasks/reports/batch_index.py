"""The table beside a batch's clips in the output store: `manifest.csv`, whole or not there.

It is written when the batch ends and whenever its results are taken, and outlives the records:
once some of them were pruned, it is left as it is.
"""

from pathlib import Path
from typing import Final

import structlog

from tasks.producer import queries
from tasks.producer.producer import Producer
from tasks.reports.export import write_csv
from tasks.schema.clip_names import batch_folder
from worker.ledger.model.batches import Batch
from worker.resources.scratch import scratch_folder
from worker.storage.errors import StoreError

log = structlog.get_logger(__name__)

NAME: Final = "manifest.csv"


def write_batch_index(producer: Producer, batch_id: str) -> bool:
    """Write the table of a batch. False: there is no such batch, or not all of it any more.

    Raises:
        StoreError: It could not be stored; what was there before is still there.
        RedisUnavailable: Redis does not answer.
    """
    with producer.redis_errors():
        batch = producer.ledger.batch(batch_id)
        pruned = producer.ledger.redis.hget(producer.ledger.key("batch", batch_id), "pruned")
    if batch is None or not batch.total or pruned:
        return False
    with scratch_folder() as folder:
        path = Path(folder) / NAME
        with path.open("w", encoding="utf-8", newline="") as sink:
            write_csv(lambda: queries.list_batch_jobs(producer, batch_id), sink)
        producer.output.put_file(path, f"{batch_folder(batch)}/{NAME}")
    return True


def write_index_of_ended(producer: Producer, batch_id: str) -> None:
    """Write the table if the batch has ended, once for each time it ends otherwise than before.

    A store that fails is only told: the next end, or `reelqueue results`, writes it.
    """
    batch = producer.ledger.batch(batch_id)
    if batch is None or batch.open or not batch.sealed:
        return
    key, standing = producer.ledger.key("batch", batch_id), _counts_text(batch)
    if producer.ledger.redis.hget(key, "inventory") == standing:
        return
    producer.ledger.redis.hset(key, "inventory", standing)
    try:
        write_batch_index(producer, batch_id)
    except StoreError as error:
        log.warning("the table of a batch could not be written", error=error.message)


def _counts_text(batch: Batch) -> str:
    return " ".join(f"{state}={n}" for state, n in sorted(batch.counts.items()))
