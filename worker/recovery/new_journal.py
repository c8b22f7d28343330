"""Move a ledger to another payment journal: copy its payments there, then change its identity.

Nobody pays in the meantime, nor after an interrupted move until it is repeated.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

from worker.journal.entries import End, Entry, Mark
from worker.journal.journal import Journal
from worker.journal.mirror import Mirror, MirrorObject
from worker.ledger.ledger import Ledger
from worker.ledger.model.jobs import Job
from worker.ledger.pages import PAGE_SIZE
from worker.reconciliation import end_facts, new_entry
from worker.recovery.ledger_ids import LedgerIds


def move_to(ledger: Ledger, journal: Journal, *, writer: str) -> None:
    """Copy all payments in the ledger's records into a journal, and make it the ledger's journal.

    Args:
        ledger: The ledger.
        journal: The new journal. Its entries of other jobs stay.
        writer: The name of this process in the mirror.

    Raises:
        JournalFailed: The journal does not answer. Nobody pays until the move is repeated.
        RedisError: Redis does not answer. Nobody pays until the move is repeated.
    """
    ids = LedgerIds(ledger)
    journal.check()
    # From now on the ledger refuses intents to pay under its former journal.
    ids.begin_move()
    for job in _jobs(ledger):
        _copy(job, journal)
    identity = ids.read()
    mirror = Mirror(
        journal_id=journal.id(),
        ledger_id=uuid4().hex,
        epoch=identity.epoch + 1,
        counter=identity.counter,
        run_id=identity.run_id,
        writer=writer,
        renewed_at=int(time.time() * 1000),
    )
    MirrorObject(journal).overwrite(mirror)
    ids.belong_to(mirror)


def _jobs(ledger: Ledger) -> Iterator[Job]:
    """Yield all jobs in the order of their submission, so that new ones come at the end."""
    start = 0
    while page := ledger.redis.zrange(ledger.key("jobs"), start, start + PAGE_SIZE - 1):
        yield from ledger.jobs(page)
        start += len(page)


def _copy(job: Job, journal: Journal) -> None:
    """Write the payments of a job, and its end, into a journal. Existing entries stay."""
    paid = {entry.attempt: entry for entry in _entries(job)}
    for number in range(1, max(paid, default=0) + 1):
        closed = new_entry(
            job, call=f"{job.id}:{job.turn}:0:moved", attempt=number, mark=Mark.NEVER_SENT
        )
        journal.create(paid.get(number, closed))
    if paid and job.state.is_end:
        facts = end_facts(job.facts)
        if job.reason is not None:
            facts |= {"reason": job.reason, "message": job.message, "remedy": job.remedy}
        journal.end(End(job.id, job.state, facts, job.last_attempt))


def _entries(job: Job) -> Iterator[Entry]:
    """Make the entries of the payments in a job's record."""
    opened_by = ""
    for turn in job.turns:
        if turn.attempt:
            entry = new_entry(
                job,
                call=turn.call,
                attempt=turn.attempt,
                created_at=job.sent_at,
                price=turn.cost,
            )
            session_id = turn.session_id or entry.session_id
            yield replace(entry, turn=turn.number, session_id=session_id, opened_by=opened_by)
        opened_by = turn.outcome
