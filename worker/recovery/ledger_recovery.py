"""The recovery of a ledger, from the first page of its journal or from where it was interrupted."""

from collections.abc import Callable, Collection

from worker.journal.identity import IdentityVerdict
from worker.journal.journal import Journal
from worker.recovery.identity_guard import IdentityGuard, ReplacedByOtherError
from worker.recovery.job_restorer import Counts, JobRestorer


def recover_ledger(
    guard: IdentityGuard,
    journal: Journal,
    restorer: JobRestorer,
    *,
    may_continue: Callable[[], bool] = lambda: True,
    overruled: Collection[IdentityVerdict] = (),
) -> Counts | None:
    """Restore what the ledger has lost, then make it the journal's ledger again.

    Args:
        guard: The identity of ledger and journal.
        journal: The journal.
        restorer: Restores the pages.
        may_continue: Called before each page; False interrupts the recovery.
        overruled: Further verdicts with which it begins. This ledger may then take the journal over
            from another one, which stops paying.

    Returns:
        What was found; None if it was interrupted, by the caller or by another process.

    Raises:
        JournalFailed: The journal does not answer. The next call continues from there.
        RedisError: Redis does not answer. The next call continues from there.
    """
    found = guard.compare()
    if not (found.verdict.needs_recovery or found.verdict in overruled):
        return None
    try:
        read = guard.begin(found)
        place = read.mirror.place
        for page in journal.pages(place, read.mirror.since):
            if not may_continue():
                guard.interrupt(read, place)
                return None
            restorer.restore_page(page)
            place = page.place
            read = guard.advance(read, place)
        guard.finish(read)
    except ReplacedByOtherError:
        return None
    return restorer.counts
