"""Submission of manifests as batches."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

from tasks.manifests.batch_name import check_batch_name
from tasks.manifests.checked_rows import (
    CheckedRow,
    RejectedRow,
    accepted,
    check_rows,
    read_until_accepted,
)
from tasks.manifests.deferred_rows import (
    CHANGED,
    WRITTEN,
    changed_row,
    states_of_known,
    submit_pages,
)
from tasks.manifests.formats.rejects import Rejects
from tasks.manifests.lines import ManifestError
from tasks.manifests.manifest import Manifest
from tasks.manifests.rows import Row, rows_of_jobs
from tasks.producer.budget import release_affordable
from tasks.producer.local_files import RECHECK_SECONDS, LocalFiles
from tasks.producer.media_store import copy_to_media_store
from tasks.producer.producer import Producer
from tasks.producer.submissions import check_webhook, raise_for_conflict
from tasks.reports.batch_index import schedule_index_of_ended
from tasks.schema.batch import batch_id_for
from tasks.schema.batch_options.aspects import read_aspects
from tasks.schema.errors import InvalidPayloadError, KeyConflict
from tasks.schema.image_job import ImageJob
from worker.ledger.ledger import Ledger
from worker.ledger.model.submissions import SubmitResult
from worker.ledger.model.verdicts import SubmitVerdict
from worker.ledger.rows import Rows, RowSubmission, manifest_tag


class SessionMode(StrEnum):
    """Whether each row of a batch has its own session, or all share one."""

    OWN = "own"
    SHARED = "shared"


@dataclass(slots=True)
class BatchSubmission:
    """The result of a submission.

    Attributes:
        batch_id: The batch.
        jobs: How many jobs are new.
        duplicates: How many rows were known.
        changed: How many rows were changed after their job had paid. With ``redo_changed``, they
            are also counted in ``jobs``.
        changed_rows: The number, image and job of each of them.
        rejected: The number of each rejected row, and the reason.
        known: The states of the jobs of the known rows, with the number of rows. `pruned`: the
            job's record was deleted.
    """

    batch_id: str
    jobs: int = 0
    duplicates: int = 0
    changed: int = 0
    changed_rows: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    known: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the public JSON form."""
        return asdict(self)


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
    redo_changed: bool = False,
    aspects: Sequence[str] | None = None,
    not_before: datetime | None = None,
) -> BatchSubmission:
    """Enqueue many jobs as one batch. The same rows under the same name are paid once.

    ``jobs`` are image jobs, or mappings with the columns of a manifest; ``prompt`` is for mappings
    without one, and ``{column}`` in it is filled in. ``max_credits`` limits what the batch may
    spend. ``session`` is ``own``, or ``shared``: one session for all rows, one after another.
    ``pilot`` runs that many jobs and then pauses the batch. ``webhook`` is notified of the end of
    the batch, and of the rows that have no webhook of their own. ``redo_changed`` makes rows again
    that were changed after their job had paid. ``aspects``, such as ``["16:9", "1:1"]``, makes a
    clip in each of them for every row without an aspect of its own. No job starts before
    ``not_before``; a time without an offset is local.

    Raises:
        InvalidPayloadError: ``aspects``, ``webhook`` or ``max_credits`` is invalid.
        RedisUnavailable: Redis does not answer.
    """
    return submit_manifest(
        producer,
        Manifest(
            name,
            Path(),
            rows_of_jobs(jobs, prompt),
            aspects=() if aspects is None else read_aspects(aspects),
        ),
        max_credits=max_credits,
        session=SessionMode(session),
        pilot=pilot,
        webhook=webhook,
        redo_changed=redo_changed,
        not_before=not_before,
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
    redo_changed: bool = False,
    not_before: datetime | None = None,
) -> BatchSubmission:
    """Enqueue a manifest as a batch. The same rows under the same name are paid for once.

    A row has one current job. If the row was changed, a new job replaces it, unless it has a clip,
    or has paid and has not ended. If all rows are rejected, no batch is made.

    Args:
        producer: The producer.
        manifest: The rows.
        name: The name of the batch; None for the manifest's own.
        max_credits: The most that the batch may spend in total; None leaves it as it is. Jobs
            that are held for the budget and can be paid for now are released.
        session: Whether each row has its own session, or all share one, one after another.
        pilot: The number of jobs to run before the batch is paused.
        rejects: The file for the rejected rows.
        webhook: Address to notify of the end of the batch, and of rows without a webhook.
        redo_changed: Replace the jobs of changed rows even if they have paid.
        not_before: Start no job of the batch before this time; None leaves it as it is.

    Raises:
        BatchNameTaken: ``name`` is None, and the batch of this name has another manifest.
        InvalidPayloadError: ``webhook`` or ``max_credits`` is invalid.
        ManifestError: The manifest cannot be read to its end; rows before that may be enqueued.
            Or the batch exists with another session mode.
        RedisUnavailable: Redis does not answer. Submit again: what was enqueued is known.
        StoreError: The media store failed. Submit again: what was enqueued is known.
    """
    if max_credits is not None and not (math.isfinite(max_credits) and max_credits >= 0):
        raise InvalidPayloadError(["max_credits: must be a number of credits, 0 or more"])
    producer.ping()
    check_webhook(producer, webhook)
    title = name or manifest.name
    result = BatchSubmission(batch_id_for(title))
    # An unreadable manifest raises here, before there is a batch.
    other_pages = manifest.pages()
    first_page = next(other_pages, [])
    files = LocalFiles(
        *(copy_to_media_store(producer), manifest.folder, manifest.archive),
        recheck_after=RECHECK_SECONDS,
    )
    if name is None:
        check_batch_name(producer, manifest, first_page, files)
    checked: Iterator[list[CheckedRow]] = (
        check_rows(
            [_with_webhook(row, producer, webhook) for row in page],
            result.batch_id,
            files,
            manifest.aspects,
        )
        for page in chain([first_page], other_pages)
    )
    with producer.redis_errors():
        if producer.ledger.batch(result.batch_id) is None:
            checked, has_jobs = read_until_accepted(checked)
            if not has_jobs:
                for page in checked:
                    _record_answers(page, [], result, rejects)
                return result
        _open_batch(producer.ledger, result.batch_id, title, manifest.source, session)
        _set_limits(producer.ledger, result.batch_id, max_credits, not_before, pilot)
        # A call that arrives late must not leave the batch open after its end.
        submission = uuid4().hex
        producer.ledger.unseal_batch(result.batch_id, webhook or "", submission)
        _submit_rows(producer.ledger, manifest, checked, result, rejects, redo=redo_changed)
        producer.ledger.seal_batch(result.batch_id, submission)
        if max_credits is not None:
            release_affordable(producer, result.batch_id)
        # If all jobs ended before the batch was sealed, no worker has scheduled the index.
        schedule_index_of_ended(producer.ledger, result.batch_id)
    for listed in (result.rejected, result.changed_rows):
        listed.sort(key=lambda row: int(row["row"]))
    return result


def _open_batch(
    ledger: Ledger, batch_id: str, title: str, source: str, session: SessionMode
) -> None:
    """Make the record of the batch if there is none.

    Raises:
        ManifestError: The batch exists with another session mode.
    """
    ledger.open_batch(batch_id, title, ledger.now_ms(), source)
    mode = ledger.set_session_mode(batch_id, session)
    if mode != session:
        raise ManifestError(
            f"The batch {title} exists with --session {mode}. Use that, or another --name."
        )


def _set_limits(
    ledger: Ledger,
    batch_id: str,
    max_credits: float | None,
    not_before: datetime | None,
    pilot: int | None,
) -> None:
    """Write the limits of a batch that were asked for. The others stay as they are."""
    if max_credits is not None:
        ledger.set_budget(batch_id, max_credits)
    if not_before is not None:
        ledger.schedule(batch_id, int(not_before.timestamp() * 1000))
    if pilot is not None:
        ledger.set_pilot(batch_id, pilot)


def _submit_rows(
    ledger: Ledger,
    manifest: Manifest,
    checked: Iterable[list[CheckedRow]],
    result: BatchSubmission,
    rejects: Rejects | None,
    *,
    redo: bool,
) -> None:
    """Submit the checked rows of a manifest, and record the answers in the result."""
    rows = Rows(ledger)
    submission = RowSubmission(
        *(result.batch_id, uuid4().hex[:8], manifest_tag(manifest.source)),
        is_first=not rows.upgrade(result.batch_id),
        redo=redo,
    )
    for page, answers in submit_pages(rows, submission, checked):
        _record_answers(page, answers, result, rejects)
        for state in states_of_known(ledger, answers):
            result.known[state] = result.known.get(state, 0) + 1


def _with_webhook(row: Row, producer: Producer, webhook: str | None) -> Row:
    """Return a row with the batch's webhook if it has none, or rejected if its own is invalid."""
    if row.job is None or webhook == row.job.webhook:
        return row
    if row.job.webhook is None:
        return replace(row, job=row.job.model_copy(update={"webhook": webhook}))
    try:
        check_webhook(producer, row.job.webhook)
    except InvalidPayloadError as error:
        return replace(row, job=None, reason=str(error))
    return row


def _record_answers(
    page: list[CheckedRow],
    answers: list[SubmitResult],
    result: BatchSubmission,
    rejects: Rejects | None,
) -> None:
    """Count the jobs of a submitted page, and add its rejected rows to the result."""
    rejected = [row for row in page if isinstance(row, RejectedRow)]
    for row, answer in zip(accepted(page), answers, strict=True):
        try:
            raise_for_conflict(row.new.key, answer)
        except KeyConflict as error:
            rejected.append(RejectedRow(row.row, str(error)))
            continue
        if answer.verdict in WRITTEN:
            result.jobs += 1
        if answer.verdict is SubmitVerdict.DUPLICATE:
            result.duplicates += 1
        if answer.verdict in CHANGED:
            result.changed += 1
            result.changed_rows.append(changed_row(row, answer))
    for reject in sorted(rejected, key=lambda found: found.row.number):
        if result.rejected and result.rejected[-1]["row"] == reject.row.number:
            continue  # The row was already rejected in another aspect.
        result.rejected.append({"row": reject.row.number, "reason": reject.reason})
        if rejects is not None:
            rejects.add(reject.row.line, reject.reason)
