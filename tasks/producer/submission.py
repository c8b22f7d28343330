"""From image jobs to what the ledger is asked to write, and to what it answers."""

from tasks.schema.errors import KeyConflict
from tasks.schema.payload import ImageJob, job_id_for
from worker.ledger.model.submissions import NewJob, SubmitResult
from worker.ledger.model.verdicts import SubmitVerdict


def new_job(job: ImageJob, *, key: str | None = None, batch_id: str = "", row: int = 0) -> NewJob:
    """The ledger's record of a job; ``key`` stands in where it has none of its own."""
    return _record(job, job.fingerprint, key=key, batch_id=batch_id, row=row)


def new_row(job: ImageJob, *, batch_id: str, row: int) -> NewJob:
    """The record of a batch's row: the same picture under the same words is the same row."""
    fingerprint = job.fingerprint
    key = f"batch:{batch_id}:{fingerprint}"
    return _record(job, fingerprint, key=key, batch_id=batch_id, row=row)


def _record(job: ImageJob, fingerprint: str, *, key: str | None, batch_id: str, row: int) -> NewJob:
    return NewJob(
        id=job_id_for(job.key or key),
        payload=job.model_dump(mode="json", exclude_none=True),
        fingerprint=fingerprint,
        priority=job.priority,
        key=job.key or key or "",
        batch_id=batch_id,
        row=row,
    )


def raise_for_conflict(job: ImageJob, answer: SubmitResult) -> None:
    """Refuse a key that is known with another payload.

    Raises:
        KeyConflict: It is.
    """
    if answer.verdict is SubmitVerdict.CONFLICT:
        raise KeyConflict(
            f"key: {job.key!r} is known with another payload (job {answer.job_id}). Use another "
            f"key for another job."
        )
