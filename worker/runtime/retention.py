"""Retention: records at an end go after a while; their keys stay.

Clips go only when that is asked for: they were paid for. What a process that was killed left half
written in a store goes after a day.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import structlog
from redis.exceptions import ResponseError

from worker.ledger.clip_names import folded
from worker.ledger.connection import replies
from worker.ledger.ledger import Ledger
from worker.ledger.model.states import State
from worker.ledger.pages import PAGE_SIZE
from worker.storage.errors import StoreError
from worker.storage.store import Store

log = structlog.get_logger(__name__)

DAY_MS: Final = 86_400_000
_FIELDS: Final = ("state", "finished_at", "clip_name", "clip")


@dataclass(frozen=True, slots=True)
class PruneResult:
    """How many records went, and how many clips with them."""

    jobs: int
    batches: int
    clips: int


@dataclass(frozen=True, slots=True)
class _Old:
    """A job that is at an end for long enough."""

    id: str
    name: str
    files: tuple[str, ...]


def cutoff_ms(ledger: Ledger, days: float) -> int:
    """The moment so many days ago, in ms of the server's clock."""
    return ledger.now_ms() - int(days * DAY_MS)


def count_expired(ledger: Ledger, before: int) -> int:
    """How many jobs reached an end before a moment (ms)."""
    found, start = 0, 0
    while page := _page(ledger, before, start):
        found += len(_old_ones(ledger, page, before))
        start += len(page)
    return found


def prune(
    ledger: Ledger,
    before: int,
    *,
    tombstone_days: float | None = None,
    clips: Store | None = None,
    may_continue: Callable[[], bool] = lambda: True,
) -> PruneResult:
    """Forget the jobs that reached an end before a moment, and batches that have none left.

    Args:
        ledger: Whose.
        before: The moment, in ms.
        tombstone_days: How long their keys stay known; None: for good.
        clips: The store from which their files go too, before their record; None: they stay.
        may_continue: Asked before each page of jobs.

    Raises:
        StoreError: A file could not be deleted. Its record is still there.
    """
    jobs, files, kept = 0, 0, 0
    while may_continue() and (page := _page(ledger, before, kept)):
        old = _old_ones(ledger, page, before)
        if clips is not None:
            files += _delete(old, clips)
        gone = _forget(ledger, old, before, int((tombstone_days or 0) * DAY_MS))
        jobs += gone
        kept += len(page) - gone
    return PruneResult(jobs, sum(_forget_batches(ledger, before)), files)


def sweep(*stores: Store) -> None:
    """Delete what killed processes left half written in stores, when it cannot be theirs any more.

    Nothing is written for longer than a step may take. A store that fails is swept another time.
    """
    for store in stores:
        try:
            gone = store.sweep_partial_files(DAY_MS / 1000)
        except StoreError as error:
            log.warning("a store could not be swept", error=error.message)
            continue
        if gone:
            log.info("half-written files were deleted", store=repr(store), files=gone)


def _page(ledger: Ledger, before: int, start: int) -> list[str]:
    """Jobs that were made before a moment: only these can have ended before it."""
    return list(
        ledger.redis.zrangebyscore(
            ledger.key("jobs"), "-inf", f"({before}", start=start, num=PAGE_SIZE
        )
    )


def _old_ones(ledger: Ledger, job_ids: list[str], before: int) -> list[_Old]:
    with ledger.redis.pipeline(transaction=False) as pipe:
        for job_id in job_ids:
            pipe.hmget(ledger.key("job", job_id), _FIELDS)
        found = replies(pipe)
    old = (_old(*job, before) for job in zip(job_ids, found, strict=True))
    return [job for job in old if job is not None]


def _old(job_id: str, found: Any, before: int) -> _Old | None:  # noqa: ANN401 - a reply
    """A job whose time is over. What cannot be read stays, for whoever restores it."""
    if isinstance(found, ResponseError):
        return None
    state, finished, name, clip = found
    try:
        if state is not None and (not State(state).is_end or int(finished or 0) >= before):
            return None
        return _Old(job_id, name or "", _files(clip))
    except (ValueError, TypeError, AttributeError):
        return None


def _files(clip: str | None) -> tuple[str, ...]:
    found: dict[str, Any] = json.loads(clip) if clip else {}
    return tuple(str(found[name]) for name in ("key", "poster") if found.get(name))


def _delete(old: list[_Old], clips: Store) -> int:
    for job in old:
        for key in job.files:
            clips.delete(key)
    return sum(bool(job.files) for job in old)


def _forget(ledger: Ledger, old: list[_Old], before: int, keep: int) -> int:
    """Run the script, and let go of the names of what it took. Returns how many went."""
    if not old:
        return 0
    verdicts = ledger.scripts.run("prune", before, keep, *(job.id for job in old))
    gone = [job for job, verdict in zip(old, verdicts, strict=True) if verdict != "KEPT"]
    with ledger.redis.pipeline(transaction=False) as pipe:
        for job in gone:
            folder, _, name = job.name.rpartition("/")
            if name:
                pipe.hdel(ledger.key("names", folder), folded(name))
        pipe.execute()
    return len(gone)


def _forget_batches(ledger: Ledger, before: int) -> Iterator[bool]:
    for batch_id in ledger.redis.zrangebyscore(ledger.key("batches"), "-inf", f"({before}"):
        yield ledger.scripts.run("prune_batch", batch_id, before) == "OK"
