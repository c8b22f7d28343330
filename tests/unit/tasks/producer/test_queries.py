"""Queries of jobs and batches, and waiting, with a real ledger."""

import threading

import pytest

from tasks.producer import actions, queries
from tasks.producer.submissions import new_job, with_key
from tasks.schema.errors import UnknownId
from tasks.schema.image_job import ImageJob
from tests.support.ledger_access import submit_many
from tests.unit.tasks.conftest import ProducerHarness
from worker.ledger.model.states import Reason, State


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
    listed = queries.list_batch_jobs(harness.producer, "b")
    assert [result.row for result in listed] == list(rows)
    found = []
    for number, result in enumerate(queries.list_jobs(harness.producer)):
        found.append(result.job_id)
        if number % 400 == 0:
            harness.submit(key=f"late-{number}")
    assert len(found) == len(set(found)) == 1250
