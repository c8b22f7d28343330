"""A recovery that a person starts. It also takes decisions that the workers leave to people."""

import time
from collections.abc import Callable
from typing import Final
from uuid import uuid4

from worker.journal.identity import IdentityVerdict
from worker.journal.journal import Journal
from worker.journal.stores import JournalFailed
from worker.ledger.ledger import Ledger
from worker.recovery.identity_guard import IdentityGuard
from worker.recovery.job_restorer import Counts, JobRestorer
from worker.recovery.ledger_recovery import recover_ledger
from worker.recovery.new_journal import move_to
from worker.storage.store import Store

OVERRULED: Final = (IdentityVerdict.WAIT, IdentityVerdict.CLONE, IdentityVerdict.OTHER_LEDGER)
"""Verdicts that a person can overrule: the workers on the other Redis are gone, or are to stop."""
RETRY_SECONDS: Final = 1.0
"""The pause before the next check, if a worker recovers the ledger at the same time."""


class OtherJournalError(Exception):
    """The ledger belongs to another journal, and the caller has not asked to change that."""


def recover_by_person(
    ledger: Ledger,
    journal: Journal,
    output: Store,
    *,
    dry_run: bool = False,
    new_journal: bool = False,
    pause: Callable[[float], object] = time.sleep,
) -> Counts:
    """Rebuild the ledger from the journal, also where the workers wait for a person's decision.

    It may run while workers do the same.

    Args:
        ledger: The ledger.
        journal: This process's journal.
        output: The store of the clips.
        dry_run: Write nothing.
        new_journal: Make the journal the ledger's, if the ledger belongs to another one.
        pause: Waits for some seconds.

    Returns:
        What was found.

    Raises:
        OtherJournalError: The ledger belongs to another journal, or was moved to one meanwhile.
        JournalFailed: The journal does not answer. The next call continues from there.
        RedisError: Redis does not answer. The next call continues from there.
    """
    writer = f"recover {uuid4().hex}"
    guard = IdentityGuard(ledger, journal, writer=writer, watch_seconds=0.0)
    restorer = JobRestorer(ledger, journal, output, dry_run=dry_run)
    verdict = _verdict(guard, accept_damage=new_journal)
    if verdict is IdentityVerdict.OTHER_JOURNAL and not new_journal:
        raise OtherJournalError
    if dry_run:
        return _all_pages(journal, restorer)
    if verdict is IdentityVerdict.OTHER_JOURNAL:
        move_to(ledger, journal, writer=writer)
    while (verdict := guard.check()) is not IdentityVerdict.PAY:
        if verdict is IdentityVerdict.OTHER_JOURNAL:
            raise OtherJournalError
        counts = recover_ledger(guard, journal, restorer, overruled=OVERRULED)
        if counts is not None:
            return counts
        # A worker has continued the recovery. It may end it before the next check.
        pause(RETRY_SECONDS)
    # Nothing was lost, or workers have recovered the rest in the meantime.
    rest = _all_pages(journal, JobRestorer(ledger, journal, output))
    return _sum(restorer.counts, rest)


def _verdict(guard: IdentityGuard, *, accept_damage: bool) -> IdentityVerdict:
    """Compare ledger and journal.

    Args:
        guard: The identity of both.
        accept_damage: Treat a mirror that cannot be read as that of another ledger.
    """
    try:
        return guard.compare().verdict
    except JournalFailed:
        if not accept_damage:
            raise
        return IdentityVerdict.OTHER_JOURNAL


def _all_pages(journal: Journal, restorer: JobRestorer) -> Counts:
    for page in journal.pages():
        restorer.restore_page(page)
    return restorer.counts


def _sum(first: Counts, then: Counts) -> Counts:
    """Add the counts of two passes. The second counts what the first has restored as known."""
    restored = first.delivered + first.resumed + first.held
    return Counts(
        delivered=first.delivered + then.delivered,
        resumed=first.resumed + then.resumed,
        held=first.held + then.held,
        known=max(0, then.known - restored),
        unreadable=then.unreadable,
    )
