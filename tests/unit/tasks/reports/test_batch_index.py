"""The index of a batch is written after its end: never lost, and not at each of many ends."""

import os
import signal
import subprocess
import sys

from tasks.producer.producer import Producer
from tasks.reports.batch_index import (
    PAUSE_FACTOR,
    schedule_index_of_ended,
    write_batch_index,
    write_index_of_ended,
)
from tests.support.ledger_access import row_ids
from tests.unit.tasks.conftest import ProducerHarness
from worker.faultpoints import VARIABLE

PROGRAM = """
import sys
from config.settings import Settings
from tasks.producer.producer import Producer
from tasks.reports.batch_index import write_index_of_ended
print(write_index_of_ended(Producer.open(Settings()), sys.argv[1]))
"""


def ended_batch(harness: ProducerHarness, rows: int = 2) -> str:
    batch_id = harness.submit_batch(rows)
    harness.producer.ledger.cancel_many(row_ids(harness.producer.ledger, batch_id))
    schedule_index_of_ended(harness.producer.ledger, batch_id)
    return batch_id


def due_at(harness: ProducerHarness, batch_id: str) -> float | None:
    """Return when the index is due, in ms; None if it is not scheduled."""
    ledger = harness.producer.ledger
    found: float | None = ledger.redis.zscore(ledger.key("outbox"), f"index:{batch_id}")
    return found


def is_written(harness: ProducerHarness) -> bool:
    return bool(list((harness.folder / "output").rglob("manifest.csv")))


def test_the_index_is_written_once_for_the_same_end(harness: ProducerHarness) -> None:
    batch_id = ended_batch(harness)
    assert due_at(harness, batch_id) is not None
    assert not is_written(harness)
    assert write_index_of_ended(harness.producer, batch_id) == "written"
    assert is_written(harness)
    schedule_index_of_ended(harness.producer.ledger, batch_id)
    assert due_at(harness, batch_id) is None
    assert write_index_of_ended(harness.producer, batch_id) == "unchanged"


def test_a_worker_that_is_killed_while_it_writes_loses_no_index(harness: ProducerHarness) -> None:
    batch_id = ended_batch(harness)
    settings = harness.producer.settings
    env = {
        "REDIS_URL": settings.redis.url.get_secret_value(),
        "REELQUEUE_OUTPUT_URL": settings.storage.output_url,
        VARIABLE: "store.rename:before=kill@1",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, batch_id], env={**os.environ, **env}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert not is_written(harness)
    assert due_at(harness, batch_id) is not None, "it is due again"
    schedule_index_of_ended(harness.producer.ledger, batch_id)
    assert write_index_of_ended(harness.producer, batch_id) == "written"
    assert is_written(harness)


def test_a_store_that_fails_postpones_the_index(harness: ProducerHarness) -> None:
    (harness.folder / "output").write_text("a file where the folder should be")
    batch_id = ended_batch(harness)
    assert write_index_of_ended(harness.producer, batch_id) == "failed"
    due = due_at(harness, batch_id)
    assert due is not None
    assert due > harness.producer.ledger.now_ms()


def test_a_batch_that_ends_again_waits_in_proportion_to_the_cost(harness: ProducerHarness) -> None:
    batch_id = ended_batch(harness, rows=3)
    write_index_of_ended(harness.producer, batch_id)
    ledger = harness.producer.ledger
    key = ledger.key("batch", batch_id)
    ledger.redis.hset(key, "inventory_seconds", 63)
    # Two ends with other counters than those of the index.
    for extra in ("1", "2"):
        ledger.redis.hset(key, "n:failed", extra)
        schedule_index_of_ended(ledger, batch_id)
    due = due_at(harness, batch_id)
    assert due == int(ledger.redis.hget(key, "inventory_at")) + 63 * PAUSE_FACTOR * 1000
    assert write_index_of_ended(harness.producer, batch_id) == "written", "at the last end"
    assert due_at(harness, batch_id) is None
    assert "failed=2" in ledger.redis.hget(key, "inventory")


def test_batches_of_the_same_name_in_two_ledgers_keep_their_own_indexes(
    harness: ProducerHarness,
) -> None:
    settings = harness.producer.settings
    other_redis = settings.redis.model_copy(update={"namespace": "other"})
    other = ProducerHarness(
        Producer.open(settings.model_copy(update={"redis": other_redis})), harness.folder
    )
    first, second = ended_batch(harness), ended_batch(other, rows=3)
    assert first == second, "the same name, so the same folder"
    assert write_index_of_ended(harness.producer, first) == "written"
    assert write_index_of_ended(other.producer, second) == "written"
    write_batch_index(other.producer, second)
    write_batch_index(harness.producer, first)
    found = sorted((harness.folder / "output").rglob("manifest*.csv"))
    assert [len(path.read_text().splitlines()) for path in found] in ([3, 4], [4, 3])
    own = next(path for path in found if path.name == "manifest.csv")
    assert len(own.read_text().splitlines()) == 3, "that of the first ledger"
    other.producer.ledger.redis.close()


def test_the_index_of_a_version_that_recorded_no_name_is_replaced(
    harness: ProducerHarness,
) -> None:
    batch_id = ended_batch(harness)
    write_index_of_ended(harness.producer, batch_id)
    ledger = harness.producer.ledger
    key = ledger.key("batch", batch_id)
    ledger.redis.hdel(key, "index_name")
    ledger.redis.hset(key, "inventory", "failed=9")
    assert write_index_of_ended(harness.producer, batch_id) == "written"
    assert len(list((harness.folder / "output").rglob("manifest*.csv"))) == 1
