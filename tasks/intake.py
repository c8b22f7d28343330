"""Intake: the task by which any service enqueues a job, with no code of ours."""

from typing import Any

from celery import Task, shared_task

from tasks.producer.producer import Producer
from tasks.producer.submissions import enqueue
from tasks.schema.errors import RedisUnavailable
from tasks.schema.image_job import ImageJob
from worker.runtime.runtime import get_runtime


# Other services read the answer and the refusals, so they are stored, unlike those of a stage.
@shared_task(name="tasks.submit", bind=True, ignore_result=False, throws=(ValueError,))
def submit(task: Task[[object], dict[str, Any]], payload: object) -> dict[str, Any]:
    """Enqueue one job.

    A path in the payload is not read here: which paths other services may name is checked by
    the worker that prepares the job.

    Args:
        task: The task itself.
        payload: An image job, as the schema of ``reelqueue schema`` has it.

    Returns:
        ``job_id``, ``state`` and ``duplicate``.

    Raises:
        ValueError: The payload is refused; the text lists every error by its field. Or the key
            is known with another payload.
        ConnectionError: Redis does not answer, or refuses.
    """
    runtime = get_runtime()
    try:
        job = _checked(payload, task.request.id)
        submission = enqueue(Producer.of_worker(runtime), job)
    # Of built-in types: a process without our code could not read others from the results.
    except ValueError as error:
        refusal: Exception = ValueError(str(error))
    except RedisUnavailable as error:
        refusal = ConnectionError(str(error))
    else:
        return submission.as_dict()
    raise refusal


def _checked(payload: object, task_id: str | None) -> ImageJob:
    job = ImageJob.read(payload)
    if job.key is not None and job.job_id == task_id:
        # The answer of this task would stand where the job's own result is looked for.
        raise ValueError("send this task under another id than the job's")
    return job
