"""The index of a batch: the table `manifest.csv` beside its clips in the output store.

It is written after the batch has ended and when its results are requested, and outlives the records
of the jobs: once some of these have been pruned, it is not written again.

A batch that has ended puts an entry ``index:BATCH`` into the outbox. The entry stays until the
index is written, so a worker that is killed meanwhile loses nothing. A batch that ends again and
again is written at most once in a multiple of the time that writing takes, and once at its last
end.
"""

import time
from pathlib import Path
from typing import Final

import structlog

from tasks.producer import queries
from tasks.producer.producer import Producer
from tasks.reports.export import write_csv
from tasks.schema.clip_names import batch_folder
from worker.ledger.ledger import Ledger
from worker.ledger.model.batches import Batch
from worker.resources.scratch import scratch_folder
from worker.storage.errors import StoreError

log = structlog.get_logger(__name__)

NAME: Final = "manifest.csv"
ENTRY: Final = "index:"
"""The prefix of entries in the outbox."""
PAUSE_FACTOR: Final = 20
"""The pause after an index was written, in multiples of the time that it took."""
MIN_SECONDS: Final = 60.0
SECONDS_PER_JOB: Final = 0.005
"""How long another worker leaves an entry to the one that writes the index."""
RETRY_SECONDS: Final = 60.0


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


def schedule_index_of_ended(ledger: Ledger, batch_id: str) -> None:
    """Put the index of a batch into the outbox if the batch has ended since it was written."""
    batch = ledger.batch(batch_id)
    if batch is None or not _has_changed(ledger, batch):
        return
    written_at, seconds = ledger.redis.hmget(
        ledger.key("batch", batch_id), "inventory_at", "inventory_seconds"
    )
    pause = float(seconds or 0) * PAUSE_FACTOR * 1000
    due = max(ledger.now_ms(), int(written_at or 0) + int(pause))
    ledger.redis.zadd(ledger.key("outbox"), {f"{ENTRY}{batch_id}": due}, nx=True)


def write_index_of_ended(producer: Producer, batch_id: str) -> str:
    """Write the index that an entry of the outbox is about, then remove the entry.

    If the store fails, the entry is postponed.

    Returns:
        What happened, in a word.
    """
    ledger, entry = producer.ledger, f"{ENTRY}{batch_id}"
    batch = ledger.batch(batch_id)
    if batch is None or not _has_changed(ledger, batch):
        ledger.drop_notification(entry)
        return "unchanged"
    ledger.postpone_notification(entry, MIN_SECONDS + batch.total * SECONDS_PER_JOB)
    began = time.monotonic()
    try:
        write_batch_index(producer, batch_id)
    except StoreError as error:
        log.warning("batch index not written", error=error.message)
        ledger.postpone_notification(entry, RETRY_SECONDS)
        return "failed"
    record = {
        "inventory": _counts(batch),
        "inventory_at": ledger.now_ms(),
        "inventory_seconds": time.monotonic() - began,
    }
    ledger.redis.hset(ledger.key("batch", batch_id), mapping=record)
    ledger.drop_notification(entry)
    # A batch that ended while the index was written found the entry still there.
    schedule_index_of_ended(ledger, batch_id)
    return "written"


def _has_changed(ledger: Ledger, batch: Batch) -> bool:
    """Return whether a batch has ended with other counters than those of its index."""
    if batch.open or not batch.sealed:
        return False
    return bool(ledger.redis.hget(ledger.key("batch", batch.id), "inventory") != _counts(batch))


def _counts(batch: Batch) -> str:
    return " ".join(f"{state}={n}" for state, n in sorted(batch.counts.items()))
