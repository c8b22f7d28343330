"""The producer's context: errors of Redis, and the expected price of a clip."""

import pytest
from pydantic import SecretStr

from config.settings import RedisSettings, Settings
from tasks.manifests.dry_runs.dry_run import dry_run_batch
from tasks.producer import queries, submissions
from tasks.producer.producer import Producer
from tasks.schema.errors import RedisUnavailable
from tests.support.waiting import refusing_port
from tests.unit.tasks.conftest import ProducerHarness
from worker.ledger.model.states import State
from worker.ledger.model.steps import Commit
from worker.ledger.payments import Payments


def test_without_redis_the_error_says_what_to_do_and_hides_the_password(
    settings: Settings,
) -> None:
    url = SecretStr(f"redis://:hush@127.0.0.1:{refusing_port()}/0")
    producer = Producer.open(settings.model_copy(update={"redis": RedisSettings(url=url)}))
    with pytest.raises(RedisUnavailable, match="reelqueue valkey") as raised:
        submissions.submit(producer, {"image": "https://example.org/a.jpg"})
    assert "hush" not in str(raised.value)


def test_the_expected_price_follows_the_charges_of_recent_clips(harness: ProducerHarness) -> None:
    assert harness.producer.clip_price() == 100
    batch_id = harness.submit_batch(rows=3)
    first = next(queries.list_batch_jobs(harness.producer, batch_id)).job_id
    ledger, payments = harness.producer.ledger, Payments(harness.producer.ledger)
    fence = harness.claim(first)
    ledger.update_facts(first, fence, {"account": "a"})
    payments.record_balance("a", read_at=1, available=1000, frozen=0, total=1000)
    call = f"{first}:1:1"
    assert payments.begin(first, fence, turn=1, call=call, cost=100, cap=9).verdict == "OK"
    ledger.commit(first, fence, Commit(State.GENERATING))
    now = ledger.now_ms()
    payments.record_balance("a", read_at=now, available=850, frozen=0, total=850)
    assert harness.producer.clip_price() == 150
    batch = queries.get_batch(harness.producer, batch_id)
    assert (batch.credits_reserved, batch.credits_spent) == (100, 0), "no more than was committed"
    new = harness.manifest({"image": "https://example.org/new.jpg"})
    assert dry_run_batch(harness.producer, new).credits == 150
