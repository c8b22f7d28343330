"""New jobs, in the form in which the ledger takes them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from worker.ledger.model.verdicts import SubmitVerdict

_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to write. Its fingerprint decides whether a known key means the same job.

    ``lane`` is the name of its flow, if that is not its batch's own. A job of a batch that waits
    in the lane of the single jobs is not held back when the batch is paused.
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
    """The job in whose session this one works, as a follow-up edit."""

    @property
    def flow(self) -> str:
        """The flow in which the job waits: its lane, else its batch, else the single jobs."""
        return f"{self.lane or self.batch_id or SINGLE}:{self.priority}"


SINGLE: Final = "single"
"""The lane of the jobs without a batch."""


@dataclass(frozen=True, slots=True)
class SubmitResult:
    """The answer to a submission, with the id of the new or the known job."""

    verdict: SubmitVerdict
    job_id: str


def as_argument(jobs: Iterable[NewJob]) -> str:
    """Return new jobs as the argument of the script."""
    return _json([_as_object(job) for job in jobs])


def _as_object(job: NewJob) -> dict[str, Any]:
    fields = {"payload": _json(job.payload), "parent": job.parent_id}
    if job.follows:
        fields["follows"] = job.follows
    if source := source_host(job.payload):
        fields["source"] = source
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


def source_host(payload: Mapping[str, Any]) -> str:
    """Return the host and port from which a worker fetches the files of a job; empty if none."""
    image = payload.get("media") or ("" if payload.get("pass_url") else payload.get("image"))
    for address in (image, *(payload.get("attach") or ())):
        if str(address).lower().startswith(("http://", "https://")):
            try:
                return urlsplit(str(address)).netloc.rpartition("@")[2].lower()
            except ValueError:
                return ""
    return ""
