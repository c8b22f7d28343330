"""New jobs, in the form in which the ledger takes them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from config.store_address import StoreAddress, is_store_address
from worker.ledger.model.fields import json_text
from worker.ledger.model.verdicts import SubmitVerdict


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to write. Its fingerprint decides whether a known key means the same job.

    ``flow_name`` is the name of its flow, if that is not its batch's own. A job of a batch that
    waits in the flow of the single jobs is not held back when the batch is paused.
    """

    id: str
    payload: Mapping[str, Any]
    fingerprint: str
    priority: str = "normal"
    key: str = ""
    batch_id: str = ""
    row: int = 0
    parent_id: str = ""
    flow_name: str = ""
    follows: str = ""
    """The job in whose session this one works, as a follow-up edit."""
    replaces: str = ""
    """The job whose row in the batch this one takes over if it has failed or was cancelled."""
    content: str = ""
    """For a row of a batch, or a job that takes one over: the hash of what the row requests."""
    former_key: str = ""
    """The key that version 1 gave a row without a key."""
    manifest_row: int = 0
    """The number of a row in its manifest. ``row`` is its number in the results, which for a
    corrected row is that in the manifest from which it was rejected."""
    is_correction: bool = False
    """Whether the row was rejected from another manifest before."""
    plain_key: str = ""
    """The row's key as written, where ``key`` names an aspect of the batch too."""
    single_fingerprint: str = ""
    """With ``plain_key``: the fingerprint of a single job that requests the same."""
    earlier_job: str = ""
    """At the manifest's end: the job of the row's image that no row has matched."""

    @property
    def flow(self) -> str:
        """The flow in which the job waits: as named, else its batch's, else that of single jobs."""
        return f"{self.flow_name or self.batch_id or SINGLE}:{self.priority}"


SINGLE: Final = "single"
"""The name of the flow of the jobs without a batch."""


_VERDICTS: Final[Mapping[str, SubmitVerdict]] = {str(verdict): verdict for verdict in SubmitVerdict}


@dataclass(frozen=True, slots=True)
class SubmitResult:
    """The reply to a submission, with the id of the new or the known job."""

    verdict: SubmitVerdict
    job_id: str


def as_results(flat: Sequence[str]) -> list[SubmitResult]:
    """Read the reply of the script: a verdict and an id for each job."""
    return [
        SubmitResult(_VERDICTS[verdict], job_id)
        for verdict, job_id in zip(flat[::2], flat[1::2], strict=True)
    ]


def as_argument(jobs: Iterable[NewJob]) -> str:
    """Return new jobs as the argument of the script."""
    return json_text([_as_object(job) for job in jobs])


def as_rows(jobs: Iterable[NewJob]) -> str:
    """Return rows of a batch as the argument of the script."""
    return json_text([_as_row(job) for job in jobs])


def _as_row(job: NewJob) -> dict[str, Any]:
    return {
        "id": job.id,
        "key": job.key,
        "content": job.content,
        "former_key": job.former_key,
        "plain_key": job.plain_key,
        "single_fingerprint": job.single_fingerprint,
        "manifest_row": job.manifest_row,
        "earlier_job": job.earlier_job,
        "correction": int(job.is_correction),
        "flow": job.flow,
        "row": job.row,
        "fields": _fields(job),
    }


def _as_object(job: NewJob) -> dict[str, Any]:
    return {
        "id": job.id,
        "key": job.key,
        "fingerprint": job.fingerprint,
        "flow": job.flow,
        "batch": job.batch_id,
        "row": job.row,
        "replaces": job.replaces,
        "content": job.content,
        "fields": _fields(job),
    }


def _fields(job: NewJob) -> dict[str, str]:
    fields = {"payload": json_text(job.payload), "parent": job.parent_id}
    if job.follows:
        fields["follows"] = job.follows
    if source := source_host(job.payload):
        fields["source"] = source
    if webhook := job.payload.get("webhook"):
        fields["webhook"] = webhook
    return fields


def source_host(payload: Mapping[str, Any]) -> str:
    """Return the host and port, or the store, from which a worker fetches the files of a job.

    Empty if there is none: its files are in the media store, or on a local disk.
    """
    image = payload.get("media") or ("" if payload.get("pass_url") else payload.get("image"))
    for address in map(str, (image, *(payload.get("attach") or ()))):
        try:
            if address.lower().startswith(("http://", "https://")):
                return urlsplit(address).netloc.rpartition("@")[2].lower()
            if is_store_address(address):
                found = StoreAddress.parse(address)
                return f"{found.scheme}://{found.place.rpartition('@')[2]}"
        except ValueError:
            return ""
    return ""
