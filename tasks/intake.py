"""The Celery task by which other services submit jobs. They need Celery only, not this package."""

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


# Callers read the answer or the error, so it is stored, unlike those of the stages.
@shared_task(name="tasks.submit", bind=True, ignore_result=False, throws=(ValueError,))
def submit(task: Task[..., dict[str, Any]], /, *args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401 - celery's
    """Enqueue one job.

    A path or a store address in the payload is not read here, but it is refused where other
    services may not use it. The worker that prepares the job checks it again, and reads the file.

    Args:
        task: The task itself.
        args: One argument, ``payload``: an image job, as `reelqueue schema` prints it.
        kwargs: The same by its name. Other arguments are the sender's mistake.

    Returns:
        ``job_id``, ``state`` and ``duplicate``.

    Raises:
        ValueError: The payload is invalid, and the text names each wrong field; or a path may not
            be used; or the key was used with another payload.
        Reject: The record could not be written. The message is handled again later.
    """
    # The error is a built-in type, because a caller's process cannot load those of this package.
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
        # A shortage of this machine passes, and says nothing about the job.
        if shortage_of(error) is None:
            raise
        raise Reject(str(error), requeue=True) from None


def _payload(args: tuple[object, ...], kwargs: dict[str, object]) -> object:
    if len(args) == 1 and not kwargs:
        return args[0]
    if not args and kwargs.keys() == {"payload"}:
        return kwargs["payload"]
    raise ValueError("send one argument, the image job")


def _check_paths(job: ImageJob, roots: Iterable[Path | StoreAddress]) -> None:
    """Refuse paths and store addresses that this worker may not read.

    Raises:
        ValueError: There are some. The text names their fields.
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
    """Read a payload. Without a key, the task's id is the key: a message may come twice."""
    job = ImageJob.read(payload)
    if job.key is None:
        job = job.model_copy(update={"key": task_id})
    if job.job_id == task_id:
        # Celery stores the result of this task and of the job under their ids.
        raise ValueError("send this task under another id than the job's")
    return job
