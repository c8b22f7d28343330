"""Jobs on their way into the ledger."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from worker.ledger.model.verdicts import SubmitVerdict

_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be written. ``fingerprint`` tells whether a known key means the same job.

    ``lane`` is where it waits, if not in its batch's own flow: a job of a batch that waits among
    the single ones (``single``) is held back by no pause of the batch.
    """

    id: str
    payload: Mapping[str, Any]
    fingerprint: str
    priority: str = "normal"
    key: str = ""
    batch_id: str = ""
    row: int = 0
    parent_id: str = ""
    lane: str = ""
    follows: str = ""
    """The job in whose session this one goes on, as a further edit."""

    @property
    def flow(self) -> str:
        """The flow the job waits in: its lane, its batch, or the single jobs, by priority."""
        return f"{self.lane or self.batch_id or SINGLE}:{self.priority}"


SINGLE: Final = "single"
"""The lane of the jobs that belong to no batch."""


@dataclass(frozen=True, slots=True)
class SubmitResult:
    """The answer to a submission: the verdict, and the id of the new or the known job."""

    verdict: SubmitVerdict
    job_id: str


def as_argument(jobs: Iterable[NewJob]) -> str:
    """New jobs as the script takes them."""
    return _json([_as_object(job) for job in jobs])


def _as_object(job: NewJob) -> dict[str, Any]:
    fields = {"payload": _json(job.payload), "parent": job.parent_id}
    if job.follows:
        fields["follows"] = job.follows
    if webhook := job.payload.get("webhook"):
        fields["webhook"] = webhook
    return {
        "id": job.id,
        "key": job.key,
        "fingerprint": job.fingerprint,
        "flow": job.flow,
        "batch": job.batch_id,
        "row": job.row,
        "fields": fields,
    }
