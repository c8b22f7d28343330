"""Making a clip anew: the same image as a new, newly paid job, with a better prompt if need be.

Who asks again for the same while that is not at an end gets the job that was made for it: a second
click, or a call whose answer was lost, pays nothing. Several at once are asked for by keys.
"""

import hashlib
from dataclasses import replace
from itertools import count

from tasks.producer.producer import Producer, Submission
from tasks.producer.submission import new_job, raise_for_conflict
from tasks.schema.errors import UnknownId
from tasks.schema.payload import ImageJob, InvalidPayloadError, job_id_for
from tasks.schema.prompt_template import fill_prompt
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import State
from worker.ledger.model.submissions import SINGLE, NewJob
from worker.ledger.model.verdicts import SubmitVerdict


def redo(
    producer: Producer, job_id: str, prompt: str | None = None, *, key: str | None = None
) -> Submission:
    """Enqueue a job's image again, as a job of the same batch that waits for no pause of it.

    Args:
        producer: Where to.
        job_id: The job, at an end or held.
        prompt: What is asked for this time; ``{column}`` is filled in. None: the same again.
        key: Idempotency key: the same key is the same new clip, paid once, for good.

    Raises:
        UnknownId: There is no such job.
        InvalidPayloadError: It is under way still, or the prompt cannot be filled in.
        KeyConflict: The key is known with something else.
        RedisUnavailable: Redis does not answer.
    """
    with producer.redis_errors():
        parent = producer.ledger.job(job_id)
    if parent is None:
        raise UnknownId(f"There is no job {job_id}.")
    if not parent.state.is_end and parent.state is not State.HELD:
        raise InvalidPayloadError(
            [f"{job_id} is {parent.state}: wait for its end, or cancel it first."]
        )
    payload = {**parent.payload, "key": key}
    if prompt is not None:
        payload["prompt"] = fill_prompt(prompt, {**payload.get("data", {}), **payload})
    job = ImageJob.read(payload)
    with producer.redis_errors():
        return _keyed(producer, parent, job) if key else _next(producer, parent, job)


def _keyed(producer: Producer, parent: Job, job: ImageJob) -> Submission:
    new = _record(parent, job)
    # A key of a job that is no remake of this one names something else.
    words = hashlib.sha256(f"redo:{parent.id}:{new.fingerprint}".encode()).hexdigest()
    answer = producer.ledger.submit(replace(new, fingerprint=words))
    raise_for_conflict(job, answer)
    if answer.verdict is SubmitVerdict.OK:
        return Submission(answer.job_id, State.QUEUED, duplicate=False)
    return producer.known(answer.job_id, new.key)


def _next(producer: Producer, parent: Job, job: ImageJob) -> Submission:
    """The first that is not at an end of the jobs that were made of these words, or a new one."""
    new = _record(parent, job)
    for number in count(1):
        key = f"redo:{parent.id}:{new.fingerprint}:{number}"
        answer = producer.ledger.submit(replace(new, id=job_id_for(key), key=key))
        if answer.verdict is SubmitVerdict.OK:
            return Submission(answer.job_id, State.QUEUED, duplicate=False)
        known = producer.known(answer.job_id, key)
        if not known.state.is_end:
            return known
    raise AssertionError("there is always another number")


def _record(parent: Job, job: ImageJob) -> NewJob:
    row = int(parent.fact("row") or 0)
    new = new_job(job, batch_id=parent.batch_id or "", row=row)
    return replace(new, parent_id=parent.id, lane=SINGLE)
