"""The rows of batches: each has one current job, whatever was submitted before."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from worker.ledger.connections.connection import replies
from worker.ledger.ledger import Ledger
from worker.ledger.model.fields import object_of
from worker.ledger.model.row_content import row_content
from worker.ledger.model.submissions import NewJob, SubmitResult, as_results, as_rows
from worker.ledger.pages import PAGE_SIZE

_FORM: Final = "2"
"""The form in which this version stores the rows of a batch, whose record names it."""


@dataclass(frozen=True, slots=True)
class RowSubmission:
    """What all rows of one submission of a manifest have in common.

    Attributes:
        batch_id: The batch.
        name: A name that no other submission has.
        manifest: Names the file or folder; empty if there is none.
        is_first: Whether the batch had no rows before.
        redo: Whether changed rows that have a clip are made again.
        dry: Whether nothing is written.
    """

    batch_id: str
    name: str
    manifest: str = ""
    is_first: bool = False
    redo: bool = False
    dry: bool = False


def manifest_tag(source: str) -> str:
    """Return a short name of a manifest's path, by which its rows are found; empty without one."""
    return hashlib.sha256(source.encode()).hexdigest()[:8] if source else ""


class Rows:
    """Finds and writes the rows of batches in a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def upgrade(self, batch_id: str) -> bool:
        """Rewrite the rows of a batch that an earlier version wrote in the form of this version.

        Returns:
            Whether the batch has rows.
        """
        ledger = self._ledger
        record, rows = ledger.key("batch", batch_id), ledger.key("rows", batch_id)
        if not ledger.redis.zcard(rows):
            return False
        if ledger.redis.hget(record, "form") == _FORM:
            return True
        manifest = manifest_tag(ledger.redis.hget(record, "source") or "")
        for page in self._pages(batch_id, "v", "manifest", "parent", "fingerprint", "payload"):
            known: list[str] = []
            for job_id, (version, found, parent, fingerprint, payload) in page:
                # Rows that a recovery has restored name no manifest either.
                if found is None and not parent:
                    content = row_content(object_of(payload)) if version == "1" else fingerprint
                    known += [job_id, str(content)]
            if known:
                ledger.scripts.run("index_rows", batch_id, manifest, *known)
        ledger.redis.hset(record, "form", _FORM)
        return True

    def submit_pages(
        self, jobs: Iterable[Sequence[NewJob]], submission: RowSubmission, *, at_end: bool = False
    ) -> Iterator[list[SubmitResult]]:
        """Write pages of at most ``PAGE_SIZE`` rows, each in one run of the script.

        The next page is taken from the iterable while the server writes the previous one. With
        ``at_end``, they are the rows that were answered `DEFERRED`.
        """
        mode = "end" if at_end else "new" if submission.is_first else "more"
        arguments = (
            (
                *(submission.batch_id, submission.name, submission.manifest, mode),
                *(int(submission.redo), int(submission.dry), as_rows(page)),
            )
            for page in jobs
        )
        scripts = self._ledger.scripts
        run = scripts.run_pipelined if submission.dry else scripts.run_pages
        for flat in run("submit_rows", arguments):
            yield as_results(flat)

    def unmatched(self, submission: RowSubmission) -> Iterator[tuple[str, str, str]]:
        """Yield the jobs of the manifest's file or folder that no row has matched.

        Each comes with its image as it was written in the manifest, and its aspect, which is empty
        if the agent chooses it.
        """
        if not submission.manifest:
            return
        prefix = f"{submission.name}:"
        for page in self._pages(submission.batch_id, "manifest", "claim", "line", "payload"):
            for job_id, (manifest, matched_by, line, payload) in page:
                if manifest == submission.manifest and not (matched_by or "").startswith(prefix):
                    row = object_of(line or payload)
                    yield job_id, str(row.get("image", "")), str(row.get("aspect") or "")

    def _pages(
        self, batch_id: str, *fields: str
    ) -> Iterator[list[tuple[str, Sequence[str | None]]]]:
        """Read fields of the current jobs of a batch, a page at a time. Each job comes once."""
        ledger, start = self._ledger, 0
        rows = ledger.key("rows", batch_id)
        while members := ledger.redis.zrange(rows, start, start + PAGE_SIZE - 1):
            job_ids = [member for member in members if "#" not in member]
            with ledger.redis.pipeline(transaction=False) as pipe:
                for job_id in job_ids:
                    pipe.hmget(ledger.key("job", job_id), *fields)
                found = list(replies(pipe)) if job_ids else []
            yield [
                (job_id, values)
                for job_id, values in zip(job_ids, found, strict=True)
                if isinstance(values, list)
            ]
            start += PAGE_SIZE
