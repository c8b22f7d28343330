"""Queries of jobs and batches, and waiting, with a real ledger."""

import threading

import pytest

from tasks.manifests.batch_submission import submit_manifest
from tasks.producer import actions, queries
from tasks.producer.submissions import new_job, with_key
from tasks.schema.errors import UnknownId
from tasks.schema.image_job import ImageJob
from tests.support.ledger_access import submit_many
from tests.unit.tasks.conftest import ProducerHarness
from worker.ledger.model.states import Reason, State
from worker.runtime.worker_registry import register_worker


def test_wait_returns_when_a_job_is_held(harness: ProducerHarness) -> None:
    job_id = harness.submit()
    with pytest.raises(TimeoutError, match="still queued"):
        queries.wait(harness.producer, job_id, timeout=0)
    end = threading.Thread(
        target=harness.finish_step, args=(job_id, State.HELD), kwargs={"reason": Reason.CREDITS}
    )
    end.start()
    assert queries.wait(harness.producer, job_id, timeout=30).state is State.HELD
    end.join()


def test_the_shortfall_of_credits_is_the_current_one_and_not_that_of_the_hold(
    harness: ProducerHarness,
) -> None:
    ledger = harness.producer.ledger
    first, second = harness.submit(seconds=4), harness.submit(seconds=5)
    harness.finish_step(first, State.HELD, reason=Reason.CREDITS, message="No credits.")

    def message() -> str:
        reason = queries.get(harness.producer, first).reason
        assert reason is not None
        return reason.message

    assert message() == "No credits. Jobs waiting for credits: 1; about 100 are missing."
    harness.finish_step(second, State.HELD, reason=Reason.CREDITS, message="No credits.")
    assert message() == "No credits. Jobs waiting for credits: 2; about 200 are missing."
    register_worker(ledger, "w", 1, 60, ["account-a"])
    ledger.scripts.run("balance", "account-a", 1, 150, 0, 150)
    assert message() == "No credits. Jobs waiting for credits: 2; about 50 are missing."


def test_an_unknown_id_is_an_error(harness: ProducerHarness) -> None:
    for operation in (
        *(queries.get, queries.get_batch, actions.cancel),
        *(actions.retry, actions.release, actions.pause, actions.resume),
    ):
        with pytest.raises(UnknownId, match="nope"):
            operation(harness.producer, "nope")


def test_lists_longer_than_a_page_have_each_job_once_and_in_order(
    harness: ProducerHarness,
) -> None:
    ledger = harness.producer.ledger
    ledger.open_batch("b", "spring", 1)
    job = ImageJob(image="https://example.org/a.jpg")
    rows = range(1, 1251)
    submit_many(ledger, (with_key(new_job(job, batch_id="b", row=row), f"k-{row}") for row in rows))
    listed: list[int | None] = []
    for result in queries.list_batch_jobs(harness.producer, "b"):
        if not listed:
            # The next page was requested on one of these connections.
            ledger.redis.client_kill_filter(_type="normal", skipme=True)
        listed.append(result.row)
    assert listed == list(rows)
    found = []
    for number, result in enumerate(queries.list_jobs(harness.producer)):
        found.append(result.job_id)
        if number % 400 == 0:
            harness.submit(key=f"late-{number}")
    assert len(found) == len(set(found)) == 1250


def test_the_results_of_a_batch_are_those_of_its_jobs(harness: ProducerHarness) -> None:
    batch_id = harness.submit_batch(6)
    jobs = list(queries.list_batch_jobs(harness.producer, batch_id))
    waits, is_held, retries, asks, is_gone, is_no_hash = (job.job_id for job in jobs)
    remedy = {"message": "No exports.", "remedy": "Upgrade."}
    harness.finish_step(is_held, State.HELD, reason=Reason.PLAN, **remedy)
    failure = {"tries": "1", "trouble": "no connection"}
    harness.finish_step(retries, State.PREPARING, delay=60, facts=failure)
    turns = {"turn": 2, "call:1": "c", "cost:1": 70, "charged:1": 1, "call:2": "d", "cost:2": 80}
    redis, key = harness.producer.ledger.redis, harness.producer.ledger.key
    redis.hset(key("job", asks), mapping=turns)
    redis.delete(key("job", is_gone), key("job", is_no_hash))
    redis.set(key("job", is_no_hash), "text")
    listed = list(queries.list_batch_jobs(harness.producer, batch_id))
    assert [job.job_id for job in listed] == [waits, is_held, retries, asks, is_no_hash]
    for job in listed[:4]:
        alone = queries.get(harness.producer, job.job_id)
        # The time in the current state grows until it is read again.
        assert job == alone.model_copy(update={"seconds_in": job.seconds_in})
        assert job.seconds_in.keys() == alone.seconds_in.keys()
    assert (listed[3].credits_spent, listed[3].paid_messages) == (150, 2)
    assert listed[4].reason is not None
    assert listed[4].reason.code is Reason.POISON


def test_the_columns_of_a_batch_are_those_of_its_rows(harness: ProducerHarness) -> None:
    """Rows of equal content share a job, and each has columns of its own."""
    rows = (
        {"image": "https://example.org/a.jpg", "sku": "1"},
        {"image": "https://example.org/a.jpg", "size": "2"},
        {"image": "https://example.org/b.jpg", "sku": "3", "color": "red"},
    )
    batch_id = submit_manifest(harness.producer, harness.manifest(*rows)).batch_id
    columns = queries.list_batch_columns(harness.producer, batch_id)
    results = queries.list_batch_jobs(harness.producer, batch_id)
    assert columns == ["sku", "size", "color"]
    assert columns == [*dict.fromkeys(name for result in results for name in result.data)]
