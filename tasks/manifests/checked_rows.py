"""Checked rows: the rows of a manifest with their files, as records for the ledger."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tasks.manifests.lines import ROW_COLUMN
from tasks.manifests.rows import Row
from tasks.producer.local_files import LocalFiles
from tasks.producer.submissions import new_row
from tasks.schema.errors import InvalidPayloadError
from tasks.schema.image_job import ImageJob
from worker.ledger.model.submissions import NewJob


@dataclass(frozen=True, slots=True)
class AcceptedRow:
    """A row whose job can be submitted. ``job`` names its files by their media keys."""

    row: Row
    job: ImageJob
    new: NewJob


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that cannot be submitted, and why."""

    row: Row
    reason: str


CheckedRow = AcceptedRow | RejectedRow


def check_rows(rows: Iterable[Row], batch_id: str, files: LocalFiles) -> list[CheckedRow]:
    """Check the files of rows, and make the record of each job of a batch."""
    rows = list(rows)
    jobs = iter(files.replace_in_all([row.job for row in rows if row.job is not None]))
    return [
        RejectedRow(row, row.reason) if row.job is None else _checked(row, next(jobs), batch_id)
        for row in rows
    ]


def accepted(rows: Iterable[CheckedRow]) -> list[AcceptedRow]:
    """Return the rows that can be submitted."""
    return [row for row in rows if isinstance(row, AcceptedRow)]


def _checked(row: Row, job: ImageJob | InvalidPayloadError, batch_id: str) -> CheckedRow:
    if isinstance(job, InvalidPayloadError):
        return RejectedRow(row, str(job))
    new = new_row(job, batch_id=batch_id, row=row.line.original_number, number=row.number)
    is_correction = ROW_COLUMN in row.line.fields
    return AcceptedRow(row, job, replace(new, is_correction=True) if is_correction else new)
