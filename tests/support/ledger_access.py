"""Writes and reads of the ledger that only tests need."""

from collections.abc import Iterable
from itertools import chain

from worker.ledger.ledger import Ledger
from worker.ledger.model.submissions import NewJob, SubmitResult
from worker.ledger.pages import pages
from worker.ledger.reader import Reader


def submit_many(ledger: Ledger, jobs: Iterable[NewJob]) -> list[SubmitResult]:
    """Write any number of jobs as queued."""
    return list(chain.from_iterable(ledger.submit_pages(pages(jobs))))


def recent_ids(ledger: Reader, limit: int) -> list[str]:
    """Ids of the newest jobs, newest first."""
    return list(ledger.redis.zrange(ledger.key("jobs"), 0, limit - 1, desc=True))


def row_ids(ledger: Reader, batch_id: str) -> list[str]:
    """Ids of a batch's jobs, in the order of its rows."""
    return list(ledger.redis.zrange(ledger.key("rows", batch_id), 0, -1))
