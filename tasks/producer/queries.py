"""Queries: the records of jobs and batches, and waiting for a job.

All functions raise ``RedisUnavailable`` if Redis does not answer.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from config.settings import Settings
from tasks.producer.producer import Producer
from tasks.schema.batch import Batch, batch_of
from tasks.schema.errors import UnknownId
from tasks.schema.result import SHOWN_FACTS, Result, result_of
from worker.accounts.credit_shortfall import CreditShortfall, credit_shortfall
from worker.ledger.model.batches import Pace, placeholder_batch
from worker.ledger.model.jobs import Job, UnreadableRecordError
from worker.ledger.model.states import Reason, State
from worker.ledger.pages import PAGE_SIZE, pages
from worker.runtime.worker_registry import announced_accounts
from worker.telemetry.start_blockage import start_blockage

POLL_SECONDS: Final = 0.5


def get(producer: Producer, job_id: str) -> Result:
    """Return the record of a job.

    Raises:
        UnknownId: There is no such job.
        RedisUnavailable: Redis does not answer.
    """
    result = next(get_many(producer, [job_id]), None)
    if result is None:
        raise UnknownId(f"There is no job {job_id}.")
    return result


def get_many(producer: Producer, job_ids: Iterable[str]) -> Iterator[Result]:
    """Return the records of jobs in the order given, without those that do not exist."""
    for chunk in pages(job_ids):
        with producer.redis_errors():
            jobs = list(producer.ledger.jobs(chunk))
        yield from _results(producer, jobs)


def _results(producer: Producer, jobs: Sequence[Job]) -> Iterator[Result]:
    """Return the records of jobs, with what only the current state of the service shows.

    Queued jobs say why no job can start; jobs that are held for credits say how many are missing.
    """
    with producer.redis_errors():
        is_waiting = any(job.state is State.QUEUED for job in jobs)
        blockage = start_blockage(producer.ledger) if is_waiting else None
        shortfall = _shortfall(producer) if any(map(_waits_for_credits, jobs)) else None
    for job in jobs:
        result = result_of(job, producer.output)
        if blockage is not None and job.state is State.QUEUED:
            progress = result.progress.model_copy(update={"message": str(blockage)})
            result = result.model_copy(update={"progress": progress})
        if result.reason is not None and _waits_for_credits(job):
            message = f"{result.reason.message} {shortfall}"
            reason = result.reason.model_copy(update={"message": message})
            result = result.model_copy(update={"reason": reason})
        yield result


def _waits_for_credits(job: Job) -> bool:
    return job.state is State.HELD and job.reason is Reason.CREDITS


def _shortfall(producer: Producer) -> CreditShortfall:
    """Return how many credits are missing now; the record of a held job has an older balance."""
    ledger = producer.ledger
    names = announced_accounts(ledger) or [account.name for account in ledger.accounts()]
    return credit_shortfall(ledger, names, producer.settings.api.clip_cost)


def get_batch(producer: Producer, batch_id: str) -> Batch:
    """Return the record of a batch.

    Raises:
        UnknownId: There is no such batch.
    """
    with producer.redis_errors():
        batch = producer.ledger.batch(batch_id)
        pace, flows = producer.ledger.pace(), producer.ledger.flows()
    if batch is None:
        raise UnknownId(f"There is no batch {batch_id}.")
    return batch_of(
        batch,
        clip_cost=producer.clip_price(),
        pace=pace,
        flows=flows,
        slowest=slowest_pace(producer.settings),
    )


def slowest_pace(settings: Settings) -> Pace:
    """Return the longest times that the settings allow a clip, without waits for others.

    The stream lasts until its timeout, settling takes all checks, and both renders are polled as
    often as the settings allow.
    """
    timing = settings.timing
    settling = timing.settle_first_seconds + timing.settle_seconds * timing.settle_checks
    rendering = 2 * timing.render_poll_seconds * timing.render_max_polls
    admitted = timing.stream_timeout_seconds + settling
    return Pace(0, admitted, admitted + rendering, 0)


def list_jobs(producer: Producer) -> Iterator[Result]:
    """Return the records of all jobs, newest first, reading a page at a time."""
    members = _members(producer, producer.ledger.key("jobs"), newest_first=True)
    return get_many(producer, (job_id for job_id, _ in members))


def list_batch_jobs(producer: Producer, batch_id: str) -> Iterator[Result]:
    """Return the records of a batch's current jobs in the order of its rows, a page at a time.

    Rows of equal content share a job. Each has a record of its own, with its own columns.
    """
    read = producer.ledger.row_jobs(_row_pages(producer, batch_id), SHOWN_FACTS)
    while True:
        with producer.redis_errors():
            jobs = next(read, None)
        if jobs is None:
            return
        yield from _results(producer, jobs)


def list_batch_columns(producer: Producer, batch_id: str) -> list[str]:
    """Return the names of the data columns of a batch's rows, without duplicates."""
    with producer.redis_errors():
        found = producer.ledger.row_columns(_row_pages(producer, batch_id))
        return [*dict.fromkeys(chain.from_iterable(found))]


def list_batches(producer: Producer) -> Iterator[Batch]:
    """Return the records of all batches, newest first."""
    with producer.redis_errors():
        batch_ids = producer.ledger.batch_ids()
    for batch_id in batch_ids:
        try:
            yield get_batch(producer, batch_id)
        except UnreadableRecordError as error:
            placeholder = placeholder_batch(batch_id, str(error))
            yield batch_of(placeholder, clip_cost=0, pace=Pace(0, 0, 0, 0), flows={})


def _row_pages(producer: Producer, batch_id: str) -> Iterator[list[tuple[str, float]]]:
    """Return the jobs of a batch's rows with the numbers of the rows, in pages."""
    return pages(_members(producer, producer.ledger.key("rows", batch_id), newest_first=False))


def _members(producer: Producer, index: str, *, newest_first: bool) -> Iterator[tuple[str, float]]:
    """Return all members of an index with their scores.

    No member is returned twice, even if others are added meanwhile.
    """
    last: set[str] = set()
    start = 0
    while True:
        with producer.redis_errors():
            page = producer.ledger.redis.zrange(
                index, start, start + PAGE_SIZE - 1, desc=newest_first, withscores=True
            )
        if not page:
            return
        yield from ((member, score) for member, score in page if member not in last)
        last, start = {member for member, _ in page}, start + len(page)


def is_batch(producer: Producer, any_id: str) -> bool:
    """Return whether an id is that of a batch, not of a job.

    Raises:
        UnknownId: There is no job and no batch with this id.
    """
    with producer.redis_errors():
        if producer.ledger.batch(any_id) is not None:
            return True
        if next(producer.ledger.jobs([any_id]), None) is not None:
            return False
    raise UnknownId(f"There is no job and no batch {any_id}.")


def wait(producer: Producer, job_id: str, timeout: float | None = None) -> Result:
    """Wait until a job has ended or is held, and return its record.

    ``timeout`` is in seconds; None waits without a limit.

    Raises:
        TimeoutError: The timeout has passed. The job continues.
        UnknownId: There is no such job.
        RedisUnavailable: Redis does not answer.
    """
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        result = get(producer, job_id)
        if result.ended_or_held:
            return result
        if end is not None and time.monotonic() >= end:
            raise TimeoutError(f"{job_id} is still {result.state} after {timeout:g} s.")
        time.sleep(POLL_SECONDS)
