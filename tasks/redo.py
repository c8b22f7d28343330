"""Making a clip anew: the same image as a new, newly paid job, with a better prompt if need be."""

from dataclasses import replace

from tasks.manifest import filled
from tasks.payload import ImageJob, InvalidPayloadError
from tasks.producer import Producer, Submission, UnknownId, new_job
from worker.ledger.ledger import SINGLE
from worker.ledger.states import State


def redo(producer: Producer, job_id: str, prompt: str | None = None) -> Submission:
    """Enqueue a job's image again, as a job of the same batch that waits for no pause of it.

    Args:
        producer: Where to.
        job_id: The job, at an end or held.
        prompt: What is asked for this time; ``{column}`` is filled in. None: the same again.

    Raises:
        UnknownId: There is no such job.
        InvalidPayloadError: It is under way still, or the prompt cannot be filled in.
        RedisUnavailable: Redis does not answer.
    """
    with producer.reaching():
        parent = producer.ledger.job(job_id)
    if parent is None:
        raise UnknownId(f"There is no job {job_id}.")
    if not parent.state.is_end and parent.state is not State.HELD:
        raise InvalidPayloadError(
            [f"{job_id} is {parent.state}: wait for its end, or cancel it first."]
        )
    payload = {name: value for name, value in parent.payload.items() if name != "key"}
    if prompt is not None:
        payload["prompt"] = filled(prompt, {**payload.get("data", {}), **payload})
    job = ImageJob.read(payload)
    row = int(parent.fact("row") or 0)
    new = replace(
        new_job(job, batch_id=parent.batch_id or "", row=row), parent_id=parent.id, lane=SINGLE
    )
    with producer.reaching():
        answer = producer.ledger.submit(new)
    return Submission(answer.job_id, State.QUEUED, answer.verdict == "DUPLICATE")
