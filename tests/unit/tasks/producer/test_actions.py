"""Actions on jobs and batches, with a real ledger."""

from tasks.producer import actions, queries
from tests.unit.tasks.conftest import ProducerHarness, RunCommand
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit


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
        *("commit", job_id, f"{job.fence}:n", "n", "held", 0, "outcome_unknown", "settling", "")
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


def held_after_payment(harness: ProducerHarness) -> str:
    """A job whose message was sent, and whose outcome is unknown; its id."""
    job_id = harness.submit()
    harness.begin_payment(job_id)
    job = harness.producer.ledger.job(job_id)
    assert job is not None
    held = Commit(State.HELD, reason=Reason.OUTCOME_UNKNOWN, resume=State.SETTLING)
    assert harness.producer.ledger.commit(job_id, f"{job.fence}:n", held)
    return job_id


def test_a_held_job_that_has_paid_is_cancelled_only_when_that_is_confirmed(
    harness: ProducerHarness,
) -> None:
    job_id = held_after_payment(harness)
    assert actions.cancel(harness.producer, job_id).skipped == {"paid": 1}
    job = harness.producer.ledger.job(job_id)
    assert job is not None
    assert (job.state, job.cancel_requested) == (State.HELD, False)
    assert actions.cancel(harness.producer, job_id, confirmed=True).changed == 1
    assert harness.producer.ledger.counts()[0] == {State.CANCELLED: 1}


def test_without_a_terminal_the_command_needs_the_option_yes(
    harness: ProducerHarness, run_command: RunCommand
) -> None:
    job_id = held_after_payment(harness)
    for flags in ((), ("--json",)):
        answer = run_command("cancel", job_id, *flags)
        assert (answer.code, "--yes" in answer.err) == (2, True)
    assert harness.producer.ledger.counts()[0] == {State.HELD: 1}
    assert run_command("cancel", job_id, "--yes").code == 0
    assert harness.producer.ledger.counts()[0] == {State.CANCELLED: 1}
