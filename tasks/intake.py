"""The Celery task by which other services submit jobs. They do not need this package for it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from celery import Task, shared_task
from celery.exceptions import Reject

from config.store_address import StoreAddress, is_store_address
from tasks.producer.producer import Producer
from tasks.producer.submissions import enqueue
from tasks.schema.addresses import is_url
from tasks.schema.errors import RedisUnavailable
from tasks.schema.image_job import ImageJob
from tasks.schema.media_keys import is_media_key
from worker.file_refusal import FileRefusedError
from worker.resources.shortages import shortage_of
from worker.runtime.runtime import get_runtime
from worker.storage.allowed_paths import check_allowed
from worker.storage.source_store import check_allowed_address


# Callers read the result or the error, so it is stored, unlike those of the stages.
@shared_task(name="tasks.submit", bind=True, ignore_result=False, throws=(ValueError,))
def submit(task: Task[..., dict[str, Any]], /, *args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401 - celery's
    """Enqueue one job.

    Paths and store addresses that other services may not use are refused. No file is read here: the
    worker that prepares the job checks the paths again, and reads the files.

    Args:
        task: The task itself.
        args: The payload as the only positional argument: an image job (`reelqueue schema`).
        kwargs: Instead of it, the payload as the keyword argument ``payload``.

    Returns:
        ``job_id``, ``state`` and ``duplicate``.

    Raises:
        ValueError: The arguments or the payload are invalid (the text names each wrong field), a
            path may not be used, or the key was used with another payload.
        Reject: The record could not be written. The message is handled again later.
    """
    # The error is of a built-in type, because callers may not have the classes of this package.
    try:
        job = _read_job(_payload(args, kwargs), task.request.id)
        producer = Producer.from_runtime(get_runtime())
        _check_paths(job, producer.settings.storage.media_roots)
        return enqueue(producer, job).as_dict()
    except ValueError as error:
        raise ValueError(str(error)) from None
    except RedisUnavailable as error:
        raise Reject(str(error), requeue=True) from None
    except Exception as error:
        # A shortage of this machine is temporary, and is not caused by the job.
        if shortage_of(error) is None:
            raise
        raise Reject(str(error), requeue=True) from None


def _payload(args: tuple[object, ...], kwargs: dict[str, object]) -> object:
    if len(args) == 1 and not kwargs:
        return args[0]
    if not args and kwargs.keys() == {"payload"}:
        return kwargs["payload"]
    raise ValueError("the arguments are wrong: send one argument, the image job")


def _check_paths(job: ImageJob, roots: Iterable[Path | StoreAddress]) -> None:
    """Refuse paths and store addresses that this worker may not read.

    Raises:
        ValueError: The job names such files. The text names their fields, and says what to do.
    """
    named = [("image", job.image), *(("attach", name) for name in job.attach)]
    problems = []
    for field, name in named if job.media is None else named[1:]:
        if is_url(name) or is_media_key(name):
            continue
        try:
            check = check_allowed_address if is_store_address(name) else check_allowed
            check(name, roots)
        except FileRefusedError as error:
            problems.append(f"{field}: {error.code}: {error.message} {error.remedy}")
    if problems:
        raise ValueError("; ".join(problems))


def _read_job(payload: object, task_id: str | None) -> ImageJob:
    """Read a payload. Without a key, the task id is its key: a message may be delivered twice."""
    job = ImageJob.read(payload)
    if job.key is None:
        job = job.model_copy(update={"key": task_id})
    if job.job_id == task_id:
        # Celery stores results by id: those of this task and of the job would replace each other.
        raise ValueError("the task has the id of its job: send it under another id")
    return job
