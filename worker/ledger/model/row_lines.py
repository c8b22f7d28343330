"""The rows that a job was made for, in its record: their images and columns."""

import json
from dataclasses import replace

from worker.ledger.model.jobs import Job


def with_line(job: Job, line: str = "", row: int = 0) -> Job:
    """Return a job with the image and the columns of a row that it was made for.

    Args:
        job: The job.
        line: The name of a further row that shares it; empty for the first.
        row: The number of that row.
    """
    text = job.fact(f"line:{line}") if line else job.fact("line")
    if text is None:
        return job
    try:
        payload = json.loads(text)
        shown = {**job.payload, "image": payload["image"], "data": payload.get("data", {})}
    except (KeyError, TypeError, ValueError, RecursionError):
        return job
    return replace(job, payload=shown, facts={**job.facts, "row": str(row)} if line else job.facts)


def data_columns(line: str | None, payload: str | None) -> tuple[str, ...]:
    """Return the names of a row's own columns, as ``with_line`` finds them.

    Args:
        line: What is stored about the row; None if that is the payload of its job.
        payload: The payload; None if there is no record.
    """
    try:
        return tuple(json.loads(line or payload or "{}").get("data", {}))
    except (AttributeError, TypeError, ValueError, RecursionError):
        return ()
