"""Notify: tell the world what became of a job, from the outbox that its last commit filled."""

from contextlib import suppress

from celery import current_app, states
from celery.exceptions import TaskRevokedError

from tasks.producer.producer import Producer
from tasks.reports.batch_index import write_index_of_ended
from tasks.schema.result import result_of
from worker.faultpoints import around
from worker.ledger.model.jobs import UnreadableRecordError
from worker.ledger.model.states import State
from worker.runtime.runtime import get_runtime


def notify(entry: str) -> str:
    """Store the Celery result of one job, then take its entry out of the outbox.

    A stored FAILURE and REVOKED must hold exceptions of Python's or Celery's own types, or
    ``AsyncResult`` raises in processes that do not have our code.
    """
    runtime = get_runtime()
    job_id = entry.removeprefix("job:")
    try:
        job = runtime.ledger.job(job_id)
    except UnreadableRecordError:
        runtime.ledger.drop_notification(entry)
        return "unreadable"
    if job is None:
        runtime.ledger.acknowledge_notification(entry, 0)
        return "gone"
    backend = current_app.backend
    record = result_of(job, runtime.output).model_dump(mode="json")
    with around("result"):
        match job.state:
            case State.SUCCEEDED:
                backend.store_result(job_id, record, states.SUCCESS)
            case State.FAILED:
                error = RuntimeError(f"{job.reason}: {job.message}")
                backend.store_result(job_id, error, states.FAILURE)
            case State.CANCELLED:
                backend.store_result(job_id, TaskRevokedError("cancelled"), states.REVOKED)
            case State.HELD:
                backend.store_result(job_id, record, "HELD")
            case _:
                backend.store_result(job_id, record["progress"], "PROGRESS")
    if job.batch_id:
        producer = Producer.of_worker(runtime)
        # Before the entry goes: what is still to be told is not pruned, and its batch stays whole.
        with suppress(UnreadableRecordError):
            write_index_of_ended(producer, job.batch_id)
    runtime.ledger.acknowledge_notification(entry, job.revision)
    return job.state.value
