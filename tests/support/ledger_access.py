"""Writes and reads of the ledger that only tests need."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from worker.ledger.ledger import Ledger
from worker.ledger.model.submissions import NewJob, SubmitResult, as_argument, as_results
from worker.ledger.pages import pages
from worker.ledger.reader import Reader


def submit_many(ledger: Ledger, jobs: Iterable[NewJob]) -> list[SubmitResult]:
    """Write any number of jobs as queued."""
    return list(chain.from_iterable(submit_pages(ledger, pages(jobs))))


def submit_pages(ledger: Ledger, jobs: Iterable[Sequence[NewJob]]) -> Iterator[list[SubmitResult]]:
    """Write pages of jobs as queued, each in one run of the script."""
    return map(as_results, ledger.scripts.run_pages("submit", ([as_argument(p)] for p in jobs)))


def recent_ids(ledger: Reader, limit: int) -> list[str]:
    """Ids of the newest jobs, newest first."""
    return list(ledger.redis.zrange(ledger.key("jobs"), 0, limit - 1, desc=True))


def row_ids(ledger: Reader, batch_id: str) -> list[str]:
    """Ids of a batch's jobs, in the order of its rows."""
    return list(ledger.redis.zrange(ledger.key("rows", batch_id), 0, -1))


def due_notifications(ledger: Reader) -> list[str]:
    """Entries of the outbox that are due, oldest first."""
    return list(ledger.redis.zrangebyscore(ledger.key("outbox"), "-inf", ledger.now_ms()))
