"""Notifies others that a job has ended, is held, or continues."""

from contextlib import suppress
from functools import partial
from typing import Any

from celery import current_app, states
from celery.exceptions import TaskRevokedError
from redis.exceptions import RedisError

from tasks.producer.producer import Producer
from tasks.reports.batch_index import ENTRY, schedule_index_of_ended, write_index_of_ended
from tasks.schema.result import result_of
from worker.broker.result_backend import PROGRESS
from worker.faultpoints import faultpoint
from worker.ledger.model.jobs import Job, NewerRecordError, UnreadableRecordError
from worker.ledger.model.states import State
from worker.runtime.runtime import Runtime, get_runtime


def notify(*entries: str) -> str:
    """Store the Celery result of each job, or write the index of a batch, then remove the entries.

    Returns:
        The states of the jobs, or why a job has no result, for Flower.
    """
    runtime = get_runtime()
    results: list[str] = []
    delivered: list[tuple[str, int]] = []
    try:
        for entry in entries:
            result, revision = _deliver(runtime, entry)
            results.append(result)
            if revision is not None:
                delivered.append((entry, revision))
    finally:
        runtime.ledger.acknowledge_notifications(delivered)
    return " ".join(results)


def _deliver(runtime: Runtime, entry: str) -> tuple[str, int | None]:
    """Deliver one entry, and return what happened and the revision to acknowledge, if any."""
    if entry.startswith(ENTRY):
        return _write_index(runtime, entry), None
    ledger, job_id = runtime.ledger, entry.removeprefix("job:")
    try:
        job = ledger.job(job_id)
    except NewerRecordError:
        # The entry is due again later, for a worker that can read the record.
        return "newer", None
    except UnreadableRecordError:
        ledger.drop_notification(entry)
        return "unreadable", None
    if job is None:
        return "gone", 0
    _store_celery_result(runtime, job)
    # Before the entry is removed: until then, no job of the batch is pruned.
    if job.batch_id:
        with suppress(UnreadableRecordError):
            schedule_index_of_ended(ledger, job.batch_id)
    return job.state.value, job.revision


def notify_soon(job_id: str) -> None:
    """Notify others immediately that a job has ended or is held.

    If Redis does not answer, the entry remains in the outbox, and the ticker dispatches it later.
    """
    with suppress(RedisError):
        notify(f"job:{job_id}")


def _write_index(runtime: Runtime, entry: str) -> str:
    try:
        return write_index_of_ended(Producer.from_runtime(runtime), entry.removeprefix(ENTRY))
    except UnreadableRecordError:
        runtime.ledger.drop_notification(entry)
        return "unreadable"


def _store_celery_result(runtime: Runtime, job: Job) -> None:
    """Store the job's result for ``AsyncResult(job_id)``.

    A stored FAILURE or REVOKED has an exception of Python or Celery, because processes without the
    code of this project could not load one of its exceptions.
    """
    backend: Any = current_app.backend
    store = partial(backend.store_job_result, job.id, revision=job.revision)
    record = result_of(job, runtime.output).model_dump(mode="json")
    with faultpoint("result"):
        match job.state:
            case State.SUCCEEDED:
                store(record, states.SUCCESS)
            case State.FAILED:
                text = f"{job.reason}: {job.message} {job.remedy}".rstrip()
                store(RuntimeError(text), states.FAILURE)
            case State.CANCELLED:
                store(TaskRevokedError("cancelled"), states.REVOKED)
            case State.HELD:
                store(record, "HELD")
            case _:
                store(record["progress"], PROGRESS)
