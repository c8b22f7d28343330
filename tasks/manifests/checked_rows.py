"""Checked rows: the rows of a manifest with their files, as records for the ledger."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from tasks.manifests.lines import ROW_COLUMN
from tasks.manifests.rows import Row
from tasks.producer.local_files import LocalFiles
from tasks.producer.submissions import new_row
from tasks.schema.batch_options.aspects import variants
from tasks.schema.errors import InvalidPayloadError
from tasks.schema.image_job import Aspect, ImageJob
from worker.ledger.model.submissions import NewJob


@dataclass(frozen=True, slots=True)
class AcceptedRow:
    """A row whose job can be submitted. A row in several aspects is accepted once for each.

    ``job`` names its files by their media keys. ``variant`` counts the row's aspects from 0.
    """

    row: Row
    job: ImageJob
    new: NewJob
    variant: int = 0

    @property
    def is_variant(self) -> bool:
        """Whether the batch, and not the row, asks for the aspect."""
        return self.row.job is not None and self.row.job.aspect != self.job.aspect


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that cannot be submitted, and why."""

    row: Row
    reason: str


CheckedRow = AcceptedRow | RejectedRow


def check_rows(
    rows: Iterable[Row], batch_id: str, files: LocalFiles, aspects: Sequence[Aspect] = ()
) -> list[CheckedRow]:
    """Check the files of rows, and make the records of their jobs in a batch.

    A row without an aspect of its own has a job in each of ``aspects``.
    """
    rows = list(rows)
    jobs = iter(files.replace_in_all([row.job for row in rows if row.job is not None]))
    return [
        checked
        for row in rows
        for checked in (
            [RejectedRow(row, row.reason)]
            if row.job is None
            else _checked(row, next(jobs), batch_id, aspects)
        )
    ]


def accepted(rows: Iterable[CheckedRow]) -> list[AcceptedRow]:
    """Return the rows that can be submitted."""
    return [row for row in rows if isinstance(row, AcceptedRow)]


def read_until_accepted(
    pages: Iterator[list[CheckedRow]],
) -> tuple[Iterator[list[CheckedRow]], bool]:
    """Read pages of checked rows until one of them has an accepted row.

    Returns:
        An iterator over all pages, and whether there is an accepted row.
    """
    read: list[list[CheckedRow]] = []
    for page in pages:
        read.append(page)
        if accepted(page):
            return chain(read, pages), True
    return iter(read), False


def _checked(
    row: Row, job: ImageJob | InvalidPayloadError, batch_id: str, aspects: Sequence[Aspect]
) -> Iterator[CheckedRow]:
    try:
        if isinstance(job, InvalidPayloadError):
            raise job
        made = variants(job, aspects)
    except InvalidPayloadError as error:
        yield RejectedRow(row, str(error))
        return
    for index, variant in enumerate(made):
        new = new_row(
            variant,
            batch_id=batch_id,
            row=row.line.original_number,
            manifest_row=row.number,
            plain_key=job.key or "" if variant.key != job.key else "",
        )
        if ROW_COLUMN in row.line.fields:
            new = replace(new, is_correction=True)
        yield AcceptedRow(row, variant, new, index)
