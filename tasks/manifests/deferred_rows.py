"""Deferred rows: whether they are new or changed is known only at the end of their manifest.

A changed row replaces the job of an earlier row that the manifest no longer has. Deferred rows are
kept in a temporary file, because all rows of a large manifest may be among them.
"""

import pickle
import tempfile
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Final

from tasks.manifests.checked_rows import AcceptedRow, CheckedRow, accepted
from worker.ledger.ledger import Ledger
from worker.ledger.model.submissions import NewJob, SubmitResult
from worker.ledger.model.verdicts import SubmitVerdict
from worker.ledger.rows import Rows, RowSubmission

WRITTEN: Final = frozenset({SubmitVerdict.OK, SubmitVerdict.REPLACED, SubmitVerdict.REMADE})
"""Verdicts for rows that got a new job."""
CHANGED: Final = frozenset({SubmitVerdict.KEPT, SubmitVerdict.REMADE})
"""Verdicts for rows that were changed after their job had paid."""

PRUNED: Final = "pruned"
"""The state of a known row whose job's record was deleted."""


def submit_pages(
    rows: Rows, submission: RowSubmission, checked: Iterable[list[CheckedRow]]
) -> Iterator[tuple[list[CheckedRow], list[SubmitResult]]]:
    """Submit pages of rows, and yield each page with the answers for its accepted rows.

    Deferred rows are yielded in pages of their own, after the others.
    """
    sent: deque[list[CheckedRow]] = deque()

    def new_jobs(pages: Iterable[Sequence[CheckedRow]]) -> Iterator[list[NewJob]]:
        for page in pages:
            sent.append(list(page))
            yield [row.new for row in accepted(page)]

    with closing(DeferredRows(submission)) as deferred:
        for answers in rows.submit_pages(new_jobs(checked), submission):
            page = sent.popleft()
            submitted = accepted(page)
            deferred.add_page(submitted, answers)
            deferred_ids = {
                id(row)
                for row, answer in zip(submitted, answers, strict=True)
                if answer.verdict is SubmitVerdict.DEFERRED
            }
            yield (
                [row for row in page if id(row) not in deferred_ids],
                [answer for answer in answers if answer.verdict is not SubmitVerdict.DEFERRED],
            )
        deferred_pages = new_jobs(deferred.pages(rows))
        for answers in rows.submit_pages(deferred_pages, submission, at_end=True):
            yield sent.popleft(), answers


def states_of_known(ledger: Ledger, answers: Iterable[SubmitResult]) -> Iterator[str]:
    """Yield the state of the job of each known row; `pruned` for one whose record was deleted."""
    known = [found.job_id for found in answers if found.verdict is SubmitVerdict.DUPLICATE]
    for state in ledger.states_of(known):
        yield PRUNED if state is None else state.value


def changed_row(row: AcceptedRow, answer: SubmitResult) -> dict[str, Any]:
    """Return the public JSON form of a changed row: its number, image and job."""
    return {"row": row.row.number, "image": row.job.image, "job_id": answer.job_id}


class DeferredRows:
    """The deferred rows of one submission. Close it after use."""

    def __init__(self, submission: RowSubmission) -> None:
        self._submission = submission
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._pages = 0
        self._matched: set[int] = set()

    def add_page(self, rows: Sequence[AcceptedRow], answers: Sequence[SubmitResult]) -> None:
        """Keep the deferred rows of a page. In a dry run, note which jobs the others matched."""
        deferred = []
        for row, answer in zip(rows, answers, strict=True):
            if answer.verdict is SubmitVerdict.DEFERRED:
                deferred.append(row)
            elif self._submission.dry:
                self._matched.add(hash(answer.job_id))
        if deferred:
            pickle.dump(deferred, self._file)
            self._pages += 1

    def pages(self, rows: Rows) -> Iterator[list[AcceptedRow]]:
        """Yield the deferred rows, a page at a time.

        A row without a key is matched with a job of its image that no other row has matched.
        """
        if not self._pages:
            return
        unmatched = rows.unmatched(self._submission)
        candidates = Candidates(job for job in unmatched if hash(job[0]) not in self._matched)
        self._file.seek(0)
        for _ in range(self._pages):
            page: list[AcceptedRow] = pickle.load(self._file)  # noqa: S301 - written above
            yield [
                replace(row, new=replace(row.new, earlier_job=candidates.take(row)))
                if not row.new.key
                else row
                for row in page
            ]

    def close(self) -> None:
        """Delete the file."""
        self._file.close()


class Candidates:
    """Jobs that no row of a manifest has matched, by the image as it is written there."""

    def __init__(self, unmatched: Iterable[tuple[str, str, str]]) -> None:
        self._jobs: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for job_id, image, aspect in unmatched:
            self._jobs[image].append((job_id, aspect))
        self._taken: dict[str, str] = {}

    def take(self, row: AcceptedRow) -> str:
        """Return the first job of a row's image; empty if there is none.

        Rows of equal content get the same job. An aspect that the batch asks for is a clip of its
        own, so it gets no job of another aspect.
        """
        content = row.new.content
        if content not in self._taken:
            jobs = self._jobs.get(row.job.image, [])
            fits = [job for job in jobs if not row.is_variant or job[1] == row.job.aspect]
            if not fits:
                return ""
            jobs.remove(fits[0])
            self._taken[content] = fits[0][0]
        return self._taken[content]
