"""Redo: the same image as a new, newly paid job, optionally with another prompt.

Repeating a redo before it has ended returns the job that it made, so that a second click, or a
call whose answer was lost, pays nothing. Several clips at a time need different keys.
"""

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import count

from tasks.producer.producer import Producer
from tasks.producer.submissions import enqueue_record, new_job, with_key
from tasks.schema.errors import InvalidPayloadError, UnknownId
from tasks.schema.image_job import ImageJob
from tasks.schema.prompt_template import fill_prompt
from tasks.schema.submission import Submission
from worker.ledger.model.row_content import row_content
from worker.ledger.model.states import State
from worker.ledger.model.submissions import SINGLE, NewJob


def redo(
    producer: Producer, job_id: str, prompt: str | None = None, *, key: str | None = None
) -> Submission:
    """Make a job's clip again as a new, newly paid job of the same batch.

    In a batch, the new job replaces one that has failed or was cancelled. If the job has a clip,
    the batch gets a further clip. ``prompt`` replaces the job's prompt; ``{column}`` in it is
    filled in. Repeating a redo before it has ended returns the same job; so does the same ``key``,
    at any time. The new job starts even if its batch is paused.

    Raises:
        UnknownId: There is no such job.
        InvalidPayloadError: The job has not ended and is not held, or the prompt is invalid.
        KeyConflict: The key was used for another request.
        RedisUnavailable: Redis does not answer.
    """
    with producer.redis_errors():
        original = producer.ledger.job(job_id)
    if original is None:
        raise UnknownId(f"There is no job {job_id}.")
    if not original.state.is_end and original.state is not State.HELD:
        raise InvalidPayloadError(
            [f"{job_id} is {original.state}: wait for its end, or cancel it first."]
        )
    payload = {**original.payload, "key": key}
    if prompt is not None:
        payload["prompt"] = fill_prompt(prompt, {**payload.get("data", {}), **payload})
    new = replace(
        new_job(
            ImageJob.read(payload),
            batch_id=original.batch_id or "",
            row=int(original.fact("row") or 0),
        ),
        parent_id=original.id,
        flow_name=SINGLE,
        replaces=original.id if original.batch_id else "",
        content=original.fact("content") or row_content(original.payload),
    )
    if key:
        # The fingerprint names the original, so that the key is refused for other jobs.
        fingerprint = hashlib.sha256(f"redo:{original.id}:{new.fingerprint}".encode()).hexdigest()
        return enqueue_record(producer, replace(new, fingerprint=fingerprint))
    return _enqueue_unless_open(producer, new)


def redo_batch(
    producer: Producer,
    batch_id: str,
    prompt: str | None = None,
    *,
    states: Collection[State] = (State.FAILED,),
) -> Iterator[tuple[str, Submission | InvalidPayloadError]]:
    """Redo the jobs of a batch that are in one of these states, as ``redo`` does.

    Yields:
        The id of each of these jobs, with the submission of the new job, or why there is none.

    Raises:
        UnknownId: There is no such batch.
        RedisUnavailable: Redis does not answer.
    """
    with producer.redis_errors():
        if producer.ledger.batch(batch_id) is None:
            raise UnknownId(f"There is no batch {batch_id}.")
        # All rows are read before the first redo, because each redo changes the rows of the batch.
        job_ids = [
            row.job_id
            for page in producer.ledger.row_states(batch_id)
            for row in page
            if row.state in states
        ]
    for job_id in job_ids:
        try:
            yield job_id, redo(producer, job_id, prompt)
        except InvalidPayloadError as error:
            yield job_id, error


def _enqueue_unless_open(producer: Producer, new: NewJob) -> Submission:
    """Enqueue a redo, or return an earlier one of the same payload that has not ended."""
    for number in count(1):
        key = f"redo:{new.parent_id}:{new.fingerprint}:{number}"
        submission = enqueue_record(producer, with_key(new, key))
        if not (submission.duplicate and submission.state.is_end):
            return submission
    raise AssertionError("count() does not end")
