"""The Python API: one function a wish, on the producer of this process's settings."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.manifests import batch_submission as batches
from tasks.manifests.batch_submission import BatchSubmission, SessionMode
from tasks.manifests.manifest import Manifest, rows_of_jobs
from tasks.producer import edits as follow_up
from tasks.producer import redo as remake
from tasks.producer.edits import Answer
from tasks.producer.producer import Change, Submission, default_producer
from tasks.schema.payload import ImageJob, Result


def submit(job: ImageJob | Mapping[str, Any]) -> Submission:
    """Copy a job's local files into the media store, and enqueue it.

    Raises:
        InvalidPayloadError: The payload or a file of it is refused.
        KeyConflict: The key is known with another payload.
        RedisUnavailable: Redis does not answer.
    """
    return default_producer().submit(job)


def submit_batch(
    jobs: Iterable[ImageJob | Mapping[str, Any]],
    *,
    name: str,
    prompt: str | None = None,
    max_credits: float | None = None,
    session: str = "own",
    pilot: int | None = None,
    webhook: str | None = None,
) -> BatchSubmission:
    """Enqueue many jobs as one batch. The same rows under the same name are paid once.

    Args:
        jobs: Image jobs, or mappings with the columns of a manifest.
        name: The batch's name.
        prompt: For mappings without a prompt of their own; ``{column}`` is filled in.
        max_credits: The most that the batch may spend.
        session: ``own``, or ``shared``: one project for all rows, one after another.
        pilot: Run so many, and then pause the batch.
        webhook: Who is told of the batch's end, and of the ends of rows without a webhook.

    Raises:
        RedisUnavailable: Redis does not answer.
    """
    manifest = Manifest(name, Path(), rows_of_jobs(jobs, prompt))
    return batches.submit_batch(
        default_producer(),
        manifest,
        max_credits=max_credits,
        pilot=pilot,
        session=SessionMode(session),
        webhook=webhook,
    )


def get(job_id: str) -> Result:
    """The record of a job.

    Raises:
        UnknownId: There is no such job.
        RedisUnavailable: Redis does not answer.
    """
    return default_producer().get(job_id)


def wait(job_id: str, timeout: float | None = None) -> Result:
    """Wait until a job is at an end, or held; ``timeout`` in seconds.

    Raises:
        TimeoutError: The time is over. The job goes on.
        UnknownId: There is no such job.
        RedisUnavailable: Redis does not answer.
    """
    return default_producer().wait(job_id, timeout)


def say(
    job_id: str, text: str, *, attach: Sequence[str] = (), key: str | None = None
) -> Submission | Answer:
    """Edit a job's clip further, or ask for its export, its state, credits or an upload.

    An edit is a new job in the same project, and is paid for; all else is answered at once.

    Raises:
        UnknownId: There is no such job.
        NotSayable: Nothing can be said about it as it stands.
        InvalidPayloadError: The text or a file is refused.
        KeyConflict: The key is known with other words.
        RedisUnavailable: Redis does not answer.
    """
    return follow_up.say(default_producer(), job_id, text, attach=attach, key=key)


def redo(job_id: str, prompt: str | None = None, *, key: str | None = None) -> Submission:
    """Make a job's clip anew, with a better prompt if need be, as a new, newly paid job.

    The same asked for again before it is at an end is the same job; so is the same ``key``, for
    good.

    Raises:
        UnknownId: There is no such job.
        InvalidPayloadError: It is under way still, or the prompt cannot be filled in.
        KeyConflict: The key is known with something else.
        RedisUnavailable: Redis does not answer.
    """
    return remake.redo(default_producer(), job_id, prompt, key=key)


def cancel(any_id: str) -> Change:
    """End a job or a batch. What is paid goes on to its clip.

    Raises:
        UnknownId: It is neither a job nor a batch.
        RedisUnavailable: Redis does not answer.
    """
    return default_producer().cancel(any_id)


def retry(any_id: str) -> Change:
    """Let a failed job, or the failed ones of a batch, go on. Nothing is paid twice.

    Raises:
        UnknownId: It is neither a job nor a batch.
        RedisUnavailable: Redis does not answer.
    """
    return default_producer().retry(any_id)


def release(any_id: str, *, mode: str = "", who: str = "") -> Change:
    """Let a held job, or the held ones of a batch, go on.

    Args:
        any_id: The job or the batch.
        mode: For an unknown outcome: ``pay_again`` or ``as_done``.
        who: Who decided, for the record.

    Raises:
        UnknownId: It is neither a job nor a batch.
        RedisUnavailable: Redis does not answer.
    """
    return default_producer().release(any_id, mode=mode, who=who)
