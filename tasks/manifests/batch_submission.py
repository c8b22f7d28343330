"""Batches: rows of a manifest on their way into the ledger."""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from itertools import chain, islice
from pathlib import Path
from shlex import quote
from typing import Any

from tasks.manifests.csv_lines import ManifestError
from tasks.manifests.manifest import Manifest, Row, batch_id_for, rows_of_jobs
from tasks.manifests.rejects import Rejects
from tasks.producer import submissions
from tasks.producer.local_files import LocalFiles, copy_to
from tasks.producer.producer import Producer
from tasks.producer.submissions import new_row, raise_for_conflict
from tasks.reports.batch_index import write_index_of_ended
from tasks.schema.errors import BatchNameTaken, InvalidPayloadError, KeyConflict
from tasks.schema.image_job import ImageJob
from worker.ledger.model.states import Reason
from worker.ledger.model.submissions import NewJob, SubmitResult
from worker.ledger.model.verdicts import SubmitVerdict
from worker.ledger.pages import pages


class SessionMode(StrEnum):
    """How the rows of a batch use sessions."""

    OWN = "own"
    SHARED = "shared"


@dataclass(slots=True)
class BatchSubmission:
    """What became of a manifest: how many rows are new jobs, how many were known, and the rest."""

    batch_id: str
    jobs: int = 0
    duplicates: int = 0
    rejected: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class AcceptedRow:
    """A good row, and the record that it makes."""

    row: Row
    job: ImageJob
    new: NewJob


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that is no job, and why."""

    row: Row
    reason: str


def submit_batch(
    producer: Producer,
    jobs: Iterable[ImageJob | Mapping[str, Any]],
    *,
    name: str,
    prompt: str | None = None,
    max_credits: float | None = None,
    session: str = "own",
    pilot: int | None = None,
    webhook: str | None = None,
) -> BatchSubmission:
    """Enqueue many jobs as one batch. The same rows under the same name are paid once.

    ``jobs`` are image jobs, or mappings with the columns of a manifest; ``prompt`` is for mappings
    without one, and ``{column}`` in it is filled in. ``max_credits`` limits what the batch may
    spend. ``session`` is ``own``, or ``shared``: one session for all rows, one after another.
    ``pilot`` runs that many jobs and then pauses the batch. ``webhook`` is notified of the end of
    the batch, and of the rows that have no webhook of their own.

    Raises:
        InvalidPayloadError: ``webhook`` or ``max_credits`` is invalid.
        RedisUnavailable: Redis does not answer.
    """
    return submit_manifest(
        producer,
        Manifest(name, Path(), rows_of_jobs(jobs, prompt)),
        max_credits=max_credits,
        session=SessionMode(session),
        pilot=pilot,
        webhook=webhook,
    )


def submit_manifest(
    producer: Producer,
    manifest: Manifest,
    *,
    name: str | None = None,
    max_credits: float | None = None,
    session: SessionMode = SessionMode.OWN,
    pilot: int | None = None,
    rejects: Rejects | None = None,
    webhook: str | None = None,
) -> BatchSubmission:
    """Enqueue a manifest. Twice the same manifest under one name is one batch, paid once.

    Args:
        producer: Where to.
        manifest: The rows.
        name: The batch's name; the manifest's own if None.
        max_credits: The most that the batch may spend in all; None leaves it as it is. What is
            held for the budget and can be paid now goes on.
        pilot: Let so many more jobs start, and then pause the batch.
        rejects: Takes the rows that are no jobs.
        session: Whether each row has a project of its own, or all share one, one after another.
        webhook: Who is told of the batch's end, and of the ends of rows without a webhook.

    Raises:
        BatchNameTaken: The name was not asked for, and belongs to another manifest's batch.
        InvalidPayloadError: The webhook is refused, or the most to spend is no number of credits.
        ManifestError: The manifest cannot be read to its end. Rows before that may be enqueued.
            Or the batch is known, and uses sessions otherwise.
        RedisUnavailable: Redis does not answer. Submit again: what was enqueued is known.
        StoreError: The media store does not take a file. Submit again, as above.
    """
    if max_credits is not None and not (math.isfinite(max_credits) and max_credits >= 0):
        raise InvalidPayloadError(["max_credits: must be a number of credits, 0 or more"])
    producer.ping()
    submissions.check_webhook(producer, webhook)
    title = name or manifest.name
    ledger, done = producer.ledger, BatchSubmission(batch_id_for(title))
    # A manifest that cannot be read at all says so here, before there is a batch.
    rest = pages(manifest.rows)
    first = next(rest, [])
    contents = LocalFiles(copy_to(producer.media), manifest.folder)
    if name is None:
        _refuse_another_manifests_batch(producer, manifest, done.batch_id, first, contents)
    with producer.redis_errors():
        ledger.open_batch(done.batch_id, title, ledger.now_ms(), manifest.source)
        mode = ledger.set_session_mode(done.batch_id, session)
        if mode != session:
            raise ManifestError(
                f"The batch {title} is known, and its session is {mode}: give --session {mode}, "
                f"or another --name."
            )
        if max_credits is not None:
            ledger.set_budget(done.batch_id, max_credits)
        if pilot is not None:
            ledger.set_pilot(done.batch_id, pilot)
        ledger.unseal_batch(done.batch_id, webhook)
    in_flight: deque[list[AcceptedRow | RejectedRow]] = deque()

    def made() -> Iterator[list[NewJob]]:
        for page in chain([first], rest):
            told = (_with_webhook(row, producer, webhook) for row in page)
            in_flight.append(check_rows(told, done.batch_id, contents))
            yield [row.new for row in in_flight[-1] if isinstance(row, AcceptedRow)]

    with producer.redis_errors():
        for answers in ledger.submit_pages(made()):
            _record_answers(in_flight.popleft(), answers, done, rejects)
        ledger.seal_batch(done.batch_id)
        if max_credits is not None:
            _release_affordable(producer, done.batch_id)
        # Its jobs may all have ended before their manifest was in.
        write_index_of_ended(producer, done.batch_id)
    done.rejected.sort(key=lambda rejected: int(rejected["row"]))
    return done


def _with_webhook(row: Row, producer: Producer, webhook: str | None) -> Row:
    """The row with the batch's webhook where it has none; refused if its own cannot be signed."""
    if row.job is None or webhook == row.job.webhook:
        return row
    if row.job.webhook is None:
        return replace(row, job=row.job.model_copy(update={"webhook": webhook}))
    try:
        submissions.check_webhook(producer, row.job.webhook)
    except InvalidPayloadError as error:
        return replace(row, job=None, reason=str(error))
    return row


def check_rows(
    page: Iterable[Row], batch_id: str, contents: LocalFiles
) -> list[AcceptedRow | RejectedRow]:
    """The rows as records, with their files as contents; or why they are none."""
    rows = list(page)
    found = iter(contents.replace_in_all([row.job for row in rows if row.job is not None]))
    return [
        RejectedRow(row, row.reason) if row.job is None else _check_row(row, next(found), batch_id)
        for row in rows
    ]


def _check_row(
    row: Row, job: ImageJob | InvalidPayloadError, batch_id: str
) -> AcceptedRow | RejectedRow:
    if isinstance(job, InvalidPayloadError):
        return RejectedRow(row, str(job))
    return AcceptedRow(row, job, new_row(job, batch_id=batch_id, row=row.original_number))


def _record_answers(
    page: list[AcceptedRow | RejectedRow],
    answers: list[SubmitResult],
    done: BatchSubmission,
    rejects: Rejects | None,
) -> None:
    entries = [row for row in page if isinstance(row, AcceptedRow)]
    refused = [row for row in page if isinstance(row, RejectedRow)]
    for entry, answer in zip(entries, answers, strict=True):
        try:
            raise_for_conflict(entry.new.key, answer)
        except KeyConflict as error:
            refused.append(RejectedRow(entry.row, str(error)))
            continue
        if answer.verdict is SubmitVerdict.OK:
            done.jobs += 1
        else:
            done.duplicates += 1
    for row in sorted(refused, key=lambda found: found.row.number):
        done.rejected.append({"row": row.row.number, "reason": row.reason})
        if rejects is not None:
            rejects.add(row.row.line, row.reason, row.row.original_number)


def _refuse_another_manifests_batch(
    producer: Producer, manifest: Manifest, batch_id: str, first: list[Row], contents: LocalFiles
) -> None:
    """Two folders may both hold a jobs.csv: they are two batches, unless the rows are the same.

    Raises:
        BatchNameTaken: The batch is of another file, and knows none of these rows.
    """
    with producer.redis_errors():
        batch = producer.ledger.batch(batch_id)
        if batch is None or not batch.source or batch.source == manifest.source:
            return
        entries = [
            row for row in check_rows(first, batch_id, contents) if isinstance(row, AcceptedRow)
        ]
        if any(producer.ledger.lookup_keys(entry.new.key for entry in entries)):
            return
    raise BatchNameTaken(
        f"There is a batch «{batch.name}» already, of another manifest ({batch.source}), and none "
        f"of these rows is in it. Give this one a name with --name; --name {quote(batch.name)} "
        f"adds its rows to that batch."
    )


def _release_affordable(producer: Producer, batch_id: str) -> None:
    """Let go on what is held for the budget, as far as the budget now reaches."""
    ledger = producer.ledger
    batch = ledger.batch(batch_id)
    if batch is None or batch.max_credits is None or not batch.held_by.get(Reason.BUDGET):
        return
    left = (batch.max_credits - batch.committed) // producer.clip_price()
    held = (
        job.job_id
        for page in ledger.row_states(batch_id)
        for job in page
        if job.reason == Reason.BUDGET
    )
    ledger.release_many(list(islice(held, max(0, int(min(left, batch.total))))))
