"""Batches: rows of a manifest on their way into the ledger."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from itertools import chain
from math import ceil
from pathlib import Path
from typing import Any, Final

from tasks.manifest import Manifest, ManifestError, Row, batch_id_for
from tasks.media import Keep, keep_in, keep_nothing, with_contents
from tasks.payload import ImageJob, InvalidPayloadError
from tasks.producer import KeyConflict, Producer, new_job, refuse_conflict
from worker.ledger.ledger import NewJob, pages

TYPICAL_SECONDS: Final = 240
"""From a message to a delivered clip: generations take 30 to 300 s, renders 30 to 90 s."""


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

    def reject(self, number: int, reason: str) -> None:
        """Note a row that is no job."""
        self.rejected.append({"row": number, "reason": reason})

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Trial:
    """What submitting a manifest would do. Credits and seconds are estimates."""

    rows: int
    good: int
    rejected: list[dict[str, Any]]
    duplicates: int
    credits: float
    seconds: float
    hints: list[str]

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A good row, and the record that it makes."""

    row: Row
    job: ImageJob
    new: NewJob


def submit_batch(
    producer: Producer,
    manifest: Manifest,
    *,
    name: str | None = None,
    max_credits: float | None = None,
    session: SessionMode = SessionMode.OWN,
) -> BatchSubmission:
    """Enqueue a manifest. Twice the same manifest under one name is one batch, paid once.

    Args:
        producer: Where to.
        manifest: The rows.
        name: The batch's name; the manifest's own if None.
        max_credits: The most that the batch may spend, from now on; None leaves it as it is.
        session: Whether each row has a project of its own, or all share one, one after another.

    Raises:
        ManifestError: The manifest cannot be read to its end. Rows before that may be enqueued.
            Or the batch is known, and uses sessions otherwise.
        RedisUnavailable: Redis does not answer. Submit again: what was enqueued is known.
    """
    title = name or manifest.name
    ledger, done = producer.ledger, BatchSubmission(batch_id_for(title))
    # A manifest that cannot be read at all says so here, before there is a batch.
    pending = _chunks(manifest.rows)
    with producer.reaching():
        ledger.open_batch(done.batch_id, title, ledger.now_ms())
        mode = ledger.share_sessions(done.batch_id, session)
        if mode != session:
            raise ManifestError(
                f"The batch {title} is known, and its session is {mode}: give --session {mode}, "
                f"or another --name."
            )
        if max_credits is not None:
            key = ledger.key("batch", done.batch_id)
            ledger.redis.hset(key, "max_credits", f"{max_credits:g}")
    keep = keep_in(producer.media)
    for chunk in pending:
        entries = list(_entries(chunk, done, keep, manifest.folder))
        with producer.reaching():
            answers = ledger.submit_many(entry.new for entry in entries)
        for entry, answer in zip(entries, answers, strict=True):
            try:
                refuse_conflict(entry.job, answer)
            except KeyConflict as error:
                done.reject(entry.row.number, str(error))
                continue
            if answer.verdict == "OK":
                done.jobs += 1
            else:
                done.duplicates += 1
    with producer.reaching():
        ledger.seal_batch(done.batch_id)
    done.rejected.sort(key=lambda rejected: int(rejected["row"]))
    return done


def try_batch(producer: Producer, manifest: Manifest, *, name: str | None = None) -> Trial:
    """Say what ``submit_batch`` would do. Nothing is written and nothing copied.

    Raises:
        ManifestError: The manifest cannot be read to its end.
        RedisUnavailable: Redis does not answer.
    """
    found = BatchSubmission(batch_id_for(name or manifest.name))
    seen: set[str] = set()
    pictures: Counter[str] = Counter()
    for chunk in pages(manifest.rows):
        entries = list(_entries(chunk, found, keep_nothing, manifest.folder))
        known = _known(producer, [entry.new.id for entry in entries])
        for entry in entries:
            if entry.new.id in seen | known:
                found.duplicates += 1
                continue
            seen.add(entry.new.id)
            found.jobs += 1
            pictures[entry.job.media or entry.job.image] += 1
    at_once = producer.settings.account_in_flight * max(1, len(producer.settings.tokens))
    return Trial(
        rows=found.jobs + found.duplicates + len(found.rejected),
        good=found.jobs + found.duplicates,
        rejected=found.rejected,
        duplicates=found.duplicates,
        credits=found.jobs * producer.settings.clip_cost,
        seconds=ceil(found.jobs / at_once) * TYPICAL_SECONDS,
        hints=list(_hints(producer, found, pictures)),
    )


def _hints(producer: Producer, found: BatchSubmission, pictures: Counter[str]) -> Iterator[str]:
    if found.jobs > 1 and not producer.settings.tokens:
        yield "NEMO_TOKEN is not set: an anonymous token has 100 credits, about one clip."
    again = sum(n - 1 for n in pictures.values())
    if again:
        yield f"{again} rows show a picture that another row shows too; each makes a clip."


def _known(producer: Producer, job_ids: list[str]) -> set[str]:
    with producer.reaching(), producer.ledger.redis.pipeline(transaction=False) as pipe:
        for job_id in job_ids:
            pipe.exists(producer.ledger.key("job", job_id))
        return {job_id for job_id, there in zip(job_ids, pipe.execute(), strict=True) if there}


def _entries(
    chunk: list[Row], found: BatchSubmission, keep: Keep, folder: Path
) -> Iterator[_Entry]:
    """The good rows, with their files as contents; the others are noted as rejected."""
    for row in chunk:
        if row.job is None:
            found.reject(row.number, row.reason)
            continue
        try:
            job = with_contents(row.job, keep, folder)
        except InvalidPayloadError as error:
            found.reject(row.number, str(error))
            continue
        key = f"batch:{found.batch_id}:{job.fingerprint}"
        new = new_job(job, key=key, batch_id=found.batch_id, row=row.number)
        yield _Entry(row, job, new)


def _chunks(found: Iterator[Row]) -> Iterator[list[Row]]:
    """Rows in chunks, the first of which is read at once."""
    rest = pages(found)
    first = next(rest, [])
    return chain([first], rest)
