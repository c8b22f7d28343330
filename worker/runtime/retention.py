"""Deletes the records of jobs that ended long ago, and files that killed processes left behind.

The keys of pruned jobs stay known, so that a late duplicate pays nothing. Clips are paid for, and
are deleted only if the caller passes their store.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from redis.exceptions import ResponseError

from worker.journal.journal import Journal
from worker.ledger.clip_names import folded
from worker.ledger.connections.connection import replies
from worker.ledger.ledger import Ledger
from worker.ledger.model.states import State
from worker.ledger.pages import PAGE_SIZE
from worker.recovery.unreadable_entries import UnreadableEntries
from worker.storage.errors import StoreError
from worker.storage.store import Store

log = structlog.get_logger(__name__)

DAY_SECONDS: Final = 86_400
FORGET_MARGIN_MS: Final = 60_000
"""How much longer the journal's entries of a job are kept than its tombstone."""

_FIELDS: Final = ("state", "finished_at", "batch", "clip_name", "clip")


@dataclass(frozen=True, slots=True)
class PruneResult:
    """How many jobs, batches and clips were deleted."""

    jobs: int
    batches: int
    clips: int


@dataclass(frozen=True, slots=True)
class _ExpiredJob:
    id: str
    batch_id: str
    clip_name: str
    files: tuple[str, ...]


def cutoff_ms(ledger: Ledger, days: float) -> int:
    """Return the time ``days`` days ago, in ms of the Redis server's clock."""
    return ledger.now_ms() - int(days * DAY_SECONDS * 1000)


def count_prunable(ledger: Ledger, before: int, *, clips: bool) -> PruneResult:
    """Count what `prune` would delete now, without deleting it.

    Args:
        ledger: The records.
        before: The time, in ms.
        clips: Whether the clips would be deleted too.
    """
    jobs, files, start = 0, 0, 0
    rows: Counter[str] = Counter()
    while page := _page(ledger, before, start):
        prunable = _prunable(ledger, page, before)
        jobs += len(prunable)
        files += sum(bool(job.files) for job in prunable) if clips else 0
        rows.update(job.batch_id for job in prunable)
        start += len(page)
    return PruneResult(jobs, _count_batches(ledger, before, rows), files)


def prune(
    ledger: Ledger,
    before: int,
    *,
    tombstone_days: float | None = None,
    clips: Store | None = None,
    may_continue: Callable[[], bool] = lambda: True,
) -> PruneResult:
    """Delete the jobs that ended before a time, and the batches that have no jobs left.

    The jobs of a batch are deleted together, after the last of them ended before the time.

    Args:
        ledger: The records.
        before: The time, in ms.
        tombstone_days: How long the jobs' keys stay known; None: forever.
        clips: The store from which the clips are deleted too, before their record.
        may_continue: Called before each page of jobs; False ends the pruning.

    Raises:
        StoreError: A clip could not be deleted. Its record still exists.
    """
    keep_ms = int((tombstone_days or 0) * DAY_SECONDS * 1000)
    jobs, files, kept = 0, 0, 0
    while may_continue() and (page := _page(ledger, before, kept)):
        prunable = _prunable(ledger, page, before)
        if clips is not None:
            files += _delete_clips(prunable, clips)
        deleted = _delete_jobs(ledger, prunable, before, keep_ms)
        jobs += deleted
        kept += len(page) - deleted
    return PruneResult(jobs, _delete_batches(ledger, before), files)


def forget_payments(ledger: Ledger, journal: Journal, now_ms: int) -> int:
    """Delete the journal's entries of pruned jobs whose tombstones have expired.

    The entries are deleted last, so that a late duplicate pays nothing until both are gone.

    Returns:
        The number of these jobs.

    Raises:
        JournalFailed: The journal does not answer. The rest is deleted by the next call.
    """
    due, forgotten = ledger.key("journal_forget"), 0
    unreadable = UnreadableEntries(ledger)
    # The margin is needed because tombstones expire by another clock.
    until = now_ms - FORGET_MARGIN_MS
    for job_id in ledger.redis.zrangebyscore(due, "-inf", until, start=0, num=PAGE_SIZE):
        if not ledger.redis.exists(ledger.key("job", job_id)):
            journal.forget(job_id)
            unreadable.discard(job_id)
            forgotten += 1
        ledger.redis.zrem(due, job_id)
    return forgotten


def sweep_partial_files(*stores: Store) -> None:
    """Delete the half-written files that killed processes left in stores a day ago or earlier.

    No step writes for a day, so they are not in use. A store that fails is skipped until the next
    call.
    """
    for store in stores:
        try:
            deleted = store.sweep_partial_files(DAY_SECONDS)
        except StoreError as error:
            log.warning("partial files could not be deleted", error=error.message)
            continue
        if deleted:
            log.info("partial files deleted", store=repr(store), files=deleted)


def _page(ledger: Ledger, before: int, start: int) -> list[str]:
    """Return jobs that were created before a time, as only these can have ended before it."""
    return list(
        ledger.redis.zrangebyscore(
            ledger.key("jobs"), "-inf", f"({before}", start=start, num=PAGE_SIZE
        )
    )


def _prunable(ledger: Ledger, job_ids: list[str], before: int) -> list[_ExpiredJob]:
    """Return the jobs that the script would delete."""
    jobs = _expired(ledger, job_ids, before)
    verdicts = ledger.scripts.run("prune", before, -1, *(job.id for job in jobs)) if jobs else []
    return [job for job, verdict in zip(jobs, verdicts, strict=True) if verdict != "KEPT"]


def _expired(ledger: Ledger, job_ids: list[str], before: int) -> list[_ExpiredJob]:
    with ledger.redis.pipeline(transaction=False) as pipe:
        for job_id in job_ids:
            pipe.hmget(ledger.key("job", job_id), *_FIELDS)
        records = replies(pipe)
    jobs = (_read(*job, before) for job in zip(job_ids, records, strict=True))
    return [job for job in jobs if job is not None]


def _read(job_id: str, record: Any, before: int) -> _ExpiredJob | None:  # noqa: ANN401 - a reply
    """Return a job that has expired. An unreadable record is kept, so that it can be restored."""
    if isinstance(record, ResponseError):
        return None
    state, finished, batch_id, clip_name, clip = record
    try:
        if state is not None and (not State(state).is_end or int(finished or 0) >= before):
            return None
        stored: dict[str, Any] = json.loads(clip) if clip else {}
        files = tuple(str(stored[name]) for name in ("key", "poster") if stored.get(name))
    except (ValueError, TypeError, AttributeError):
        return None
    return _ExpiredJob(job_id, batch_id or "", clip_name or "", files)


def _delete_clips(jobs: list[_ExpiredJob], clips: Store) -> int:
    for job in jobs:
        for key in job.files:
            clips.delete(key)
    return sum(bool(job.files) for job in jobs)


def _delete_jobs(ledger: Ledger, jobs: list[_ExpiredJob], before: int, keep_ms: int) -> int:
    """Delete records and the clip names reserved by them, and return how many were deleted."""
    if not jobs:
        return 0
    verdicts = ledger.scripts.run("prune", before, keep_ms, *(job.id for job in jobs))
    deleted = [job for job, verdict in zip(jobs, verdicts, strict=True) if verdict != "KEPT"]
    with ledger.redis.pipeline(transaction=False) as pipe:
        for job in deleted:
            folder, _, name = job.clip_name.rpartition("/")
            if name:
                pipe.hdel(ledger.key("names", folder), folded(name))
        pipe.execute()
    return len(deleted)


def _count_batches(ledger: Ledger, before: int, rows: Mapping[str, int]) -> int:
    """Count the batches that have no rows left after the given numbers of rows are deleted."""
    batch_ids = ledger.redis.zrangebyscore(ledger.key("batches"), "-inf", f"({before}")
    with ledger.redis.pipeline(transaction=False) as pipe:
        for batch_id in batch_ids:
            pipe.hmget(ledger.key("batch", batch_id), "sealed", "unsealed_at")
            pipe.zcard(ledger.key("rows", batch_id))
        found = replies(pipe)
    return sum(
        count == rows.get(batch_id, 0) and _may_delete(record, before)
        for batch_id, record, count in zip(batch_ids, found[::2], found[1::2], strict=True)
    )


def _may_delete(record: Any, before: int) -> bool:  # noqa: ANN401 - a reply
    """Return what `prune_batch` decides about a batch without rows."""
    if isinstance(record, ResponseError):
        return False
    sealed, unsealed_at = record
    return sealed == "1" or int(unsealed_at or 0) < before


def _delete_batches(ledger: Ledger, before: int) -> int:
    batch_ids = ledger.redis.zrangebyscore(ledger.key("batches"), "-inf", f"({before}")
    return sum(ledger.scripts.run("prune_batch", each, before) == "OK" for each in batch_ids)
