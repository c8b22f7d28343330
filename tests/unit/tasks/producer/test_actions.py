"""Actions on jobs and batches, with a real ledger."""

from tasks.producer import actions, queries
from tests.unit.tasks.conftest import ProducerHarness
from worker.ledger.model.states import Reason, State


def test_retry_of_a_batch_retries_its_failed_jobs(harness: ProducerHarness) -> None:
    batch_id = harness.submit_batch(rows=3)
    results = queries.list_batch_jobs(harness.producer, batch_id)
    first, second, _ = (result.job_id for result in results)
    for job_id in (first, second):
        harness.finish_step(job_id, State.FAILED, reason=Reason.RENDER_FAILED, message="No.")
    change = actions.retry(harness.producer, batch_id)
    assert change.as_dict() == {"id": batch_id, "changed": 2, "skipped": {}}
    assert queries.get_batch(harness.producer, batch_id).failed == 0


def test_a_payment_of_unknown_outcome_is_released_only_with_a_decision(
    harness: ProducerHarness,
) -> None:
    job_id = harness.submit()
    harness.begin_payment(job_id)
    ledger = harness.producer.ledger
    job = ledger.job(job_id)
    assert job is not None
    ledger.scripts.run(
        *("commit", job_id, job.fence, "n", "held", 0, "outcome_unknown", "settling", "")
    )
    undecided = {"needs_choice": 1}
    assert actions.release(harness.producer, job_id).skipped == undecided
    released = actions.release_reason(harness.producer, Reason.OUTCOME_UNKNOWN)
    assert released.skipped == undecided
    assert actions.release(harness.producer, job_id, mode="as_done", who="me").changed == 1
    assert queries.get(harness.producer, job_id).state is State.SETTLING


def test_cancel_of_a_batch_cancels_its_waiting_jobs(harness: ProducerHarness) -> None:
    batch_id = harness.submit_batch(rows=2)
    assert actions.cancel(harness.producer, batch_id).changed == 2
    assert actions.cancel(harness.producer, batch_id).changed == 0
    assert queries.get_batch(harness.producer, batch_id).cancelled == 2
