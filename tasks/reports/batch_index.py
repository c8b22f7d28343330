"""The index of a batch: the table `manifest.csv` beside its clips in the output store.

It is written after the batch has ended, by a worker or when its results are requested, and outlives
the records of the jobs: once some of these have been pruned, it is not written again.

A batch that has ended puts an entry ``index:BATCH`` into the outbox. The entry stays until the
index is written, so a worker that is killed meanwhile loses nothing. If a batch ends repeatedly,
the pause between two writes is a multiple of the time that a write takes.
"""

import time
from pathlib import Path
from typing import Final
from uuid import uuid4

import structlog

from tasks.producer import queries
from tasks.producer.producer import Producer
from tasks.reports.export import write_csv
from tasks.schema.clip_names import batch_folder
from worker.ledger.ledger import Ledger
from worker.ledger.model.batches import Batch
from worker.media.prepared_file import sha256_of
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
"""How long other workers leave an entry to the one that writes the index."""
RETRY_SECONDS: Final = 60.0
RECORD_SECONDS: Final = 1.0
"""Longer than a process takes from the creation of an index to the record of its name."""


def write_batch_index(producer: Producer, batch_id: str) -> None:
    """Write the index of a batch, unless the batch is empty or some of its jobs were pruned.

    Raises:
        StoreError: The index could not be stored. An earlier index is unchanged.
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
            write_csv(
                queries.list_batch_columns(producer, batch_id),
                queries.list_batch_jobs(producer, batch_id),
                sink,
            )
        _store(producer, batch, path)


def write_missing_index(producer: Producer, batch_id: str) -> None:
    """Write the index of a batch that has ended, if no worker has written it.

    Raises:
        StoreError: The index could not be stored. An earlier index is unchanged.
        RedisUnavailable: Redis does not answer.
    """
    with producer.redis_errors():
        batch = producer.ledger.batch(batch_id)
        if batch is None or not _has_changed(producer.ledger, batch):
            return
    _write_and_record(producer, batch)


def _write_and_record(producer: Producer, batch: Batch) -> None:
    """Write the index of a batch, and record its counters and how long the write took."""
    ledger, began = producer.ledger, time.monotonic()
    write_batch_index(producer, batch.id)
    record = {
        "inventory": _counts(batch),
        "inventory_at": ledger.now_ms(),
        "inventory_seconds": time.monotonic() - began,
    }
    with producer.redis_errors():
        ledger.redis.hset(ledger.key("batch", batch.id), mapping=record)


def _store(producer: Producer, batch: Batch, path: Path) -> None:
    """Replace the batch's index, or create it under a name that no other ledger's index has.

    A second ledger with a batch of the same name can share the output store.
    """
    redis, key = producer.ledger.redis, producer.ledger.key("batch", batch.id)
    folder, output = batch_folder(batch), producer.output
    own = _own_name(producer, batch)
    if own is None:
        own = NAME
        file = f"{folder}/{NAME}"
        if not output.create_file(path, file) and not output.has_content(file, sha256_of(path)):
            # Another process of this ledger records the name just after it has created the file.
            time.sleep(RECORD_SECONDS)
            own = f"manifest-{uuid4().hex[:8]}.csv"
        with producer.redis_errors():
            is_first = redis.hsetnx(key, "index_name", own)
        if is_first and own == NAME:
            return
        own = _own_name(producer, batch) or own
    output.put_file(path, f"{folder}/{own}")


def _own_name(producer: Producer, batch: Batch) -> str | None:
    """Return the name of the batch's index; None if it has none yet."""
    key = producer.ledger.key("batch", batch.id)
    with producer.redis_errors():
        name, is_written = producer.ledger.redis.hmget(key, "index_name", "inventory")
    # Versions that wrote no name used the default one.
    return name or (NAME if is_written else None)


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
    """Write the index for an entry of the outbox, then remove the entry.

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
    try:
        _write_and_record(producer, batch)
    except StoreError as error:
        log.warning("batch index not written", error=error.message)
        ledger.postpone_notification(entry, RETRY_SECONDS)
        return "failed"
    ledger.drop_notification(entry)
    # If the batch ended again during the write, the old entry prevented a new one.
    schedule_index_of_ended(ledger, batch_id)
    return "written"


def _has_changed(ledger: Ledger, batch: Batch) -> bool:
    """Return whether a batch has ended with other counters than those of its index."""
    if batch.open or not batch.sealed:
        return False
    return bool(ledger.redis.hget(ledger.key("batch", batch.id), "inventory") != _counts(batch))


def _counts(batch: Batch) -> str:
    """Return a text that changes whenever a row of the index does."""
    counts = [f"{state}={n}" for state, n in sorted(batch.counts.items())]
    return " ".join([*counts, *([f"revised={batch.revised}"] if batch.revised else [])])
