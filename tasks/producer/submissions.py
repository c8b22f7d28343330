"""Submission of single jobs.

Jobs are submitted with the rights of the caller: local files are read and copied into the media
store. Services whose paths are not trusted send the Celery task ``tasks.submit`` instead.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tasks.producer.local_files import LocalFiles
from tasks.producer.media_store import copy_to_media_store
from tasks.producer.producer import Producer
from tasks.schema.addresses import check_webhook_url
from tasks.schema.errors import InvalidPayloadError, KeyConflict
from tasks.schema.image_job import ImageJob, fingerprint_of, job_id_for
from tasks.schema.submission import Submission
from worker.ledger.model.row_content import content_key, row_content
from worker.ledger.model.states import State
from worker.ledger.model.submissions import NewJob, SubmitResult
from worker.ledger.model.verdicts import SubmitVerdict


def submit(producer: Producer, job: ImageJob | Mapping[str, Any]) -> Submission:
    """Copy a job's local files into the media store, and enqueue the job.

    Raises:
        InvalidPayloadError: The payload or one of its files is invalid.
        KeyConflict: The key was used with another payload.
        RedisUnavailable: Redis does not answer.
    """
    producer.ping()
    payload = ImageJob.read(job)
    check_webhook(producer, payload.webhook)
    return enqueue(producer, LocalFiles(copy_to_media_store(producer)).replace_in(payload))


def enqueue(producer: Producer, job: ImageJob) -> Submission:
    """Enqueue a job without reading its files, which the workers can read.

    Raises:
        InvalidPayloadError: It has a webhook, and no secret to sign messages with is set.
        KeyConflict: The key was used with another payload.
        RedisUnavailable: Redis does not answer.
    """
    check_webhook(producer, job.webhook)
    return enqueue_record(producer, new_job(job))


def enqueue_record(producer: Producer, new: NewJob) -> Submission:
    """Write a new job to the ledger, or find the job that its key names.

    Raises:
        KeyConflict: The key was used with another payload.
        RedisUnavailable: Redis does not answer.
    """
    ledger = producer.ledger
    with producer.redis_errors():
        answer = ledger.submit(new)
        raise_for_conflict(new.key, answer)
        if answer.verdict is SubmitVerdict.OK:
            return Submission(answer.job_id, State.QUEUED, duplicate=False)
        job = next(ledger.jobs([answer.job_id]), None)
        ended = ledger.tombstone(new.key) if job is None else None
    if ended is not None:
        return Submission(answer.job_id, ended, duplicate=True, pruned=True)
    return Submission(answer.job_id, job.state if job else State.QUEUED, duplicate=True)


def check_webhook(producer: Producer, webhook: str | None) -> None:
    """Refuse a webhook with an invalid address, or one whose messages cannot be signed.

    Raises:
        InvalidPayloadError: The address is invalid, or no secret is set.
    """
    if webhook is None:
        return
    try:
        check_webhook_url(webhook)
    except ValueError as error:
        raise InvalidPayloadError([f"webhook: {error}"]) from None
    if producer.settings.egress.webhook_secret is None:
        raise InvalidPayloadError(
            ["webhook: cannot be signed; set REELQUEUE_WEBHOOK_SECRET here and for the workers"]
        )


def raise_for_conflict(key: str, answer: SubmitResult) -> None:
    """Refuse a key that was used with another payload.

    Raises:
        KeyConflict: The ledger has another payload under the key.
    """
    if answer.verdict is SubmitVerdict.CONFLICT:
        raise KeyConflict(
            f"key: {key!r} was used with another payload (job {answer.job_id}). Use a new key for "
            f"a different job."
        )


def new_job(job: ImageJob, *, batch_id: str = "", row: int = 0) -> NewJob:
    """Return the ledger's record for a new job."""
    return NewJob(
        id=job.job_id,
        payload=job.as_payload(),
        fingerprint=job.fingerprint,
        priority=job.priority,
        key=job.key or "",
        batch_id=batch_id,
        row=row,
    )


def new_row(
    job: ImageJob, *, batch_id: str, row: int, manifest_row: int, plain_key: str = ""
) -> NewJob:
    """Return the record for a row of a batch. Without a key, rows of equal content are one job.

    Args:
        job: What the row asks for.
        batch_id: The batch.
        row: The number by which the results are ordered.
        manifest_row: Its number in the manifest that is submitted.
        plain_key: Its key in the manifest, if an aspect ratio was appended to the job's key.
    """
    payload = job.as_payload()
    content = row_content(payload)
    return NewJob(
        id=job_id_for(job.key or content_key(batch_id, content)),
        payload=payload,
        fingerprint=content,
        priority=job.priority,
        key=job.key or "",
        batch_id=batch_id,
        row=row,
        content=content,
        former_key="" if job.key else content_key(batch_id, fingerprint_of(payload)),
        manifest_row=manifest_row,
        plain_key=plain_key,
        single_fingerprint=fingerprint_of(payload) if plain_key else "",
    )


def with_key(new: NewJob, key: str) -> NewJob:
    """Return a record under another key, which also determines the job's id."""
    return replace(new, id=job_id_for(key), key=key)
