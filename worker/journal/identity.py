"""Whether a ledger and a journal belong together. Pure: both identities in, verdict out."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from worker.journal.mirror import Mirror, ReadMirror

FIRST_EPOCH: Final = 1
ENOUGH_RENEWALS: Final = 2
"""How many renewals by others show that workers on another Redis are alive. One is not enough: a
process that read the ledger just before the loss can still renew the mirror once."""


@dataclass(frozen=True, slots=True)
class LedgerIdentity:
    """The identity that is stored in the ledger.

    Attributes:
        journal_id: The journal that it belongs to, or "" if the ids are gone.
        ledger_id: Its own id, or "".
        epoch: The epoch that the last recovery wrote.
        counter: How many intents to pay it has written.
        run_id: The run of its Redis server, and the number of the database.
        recovering: The epoch of the recovery that has begun in it, or 0.
        stopped: Whether it was found to be a clone, which only a person's recovery ends.
        starting: The id that it is to have, from before its first mirror is created until the ids
            of that mirror are copied into it; else "".
    """

    journal_id: str
    ledger_id: str
    epoch: int
    counter: int
    run_id: str
    recovering: int = 0
    stopped: bool = False
    starting: str = ""

    @property
    def is_new(self) -> bool:
        """Whether it holds no ids: it is new, was flushed, or comes from an older version."""
        return not self.ledger_id


class IdentityVerdict(StrEnum):
    """What follows from a comparison of both identities."""

    PAY = "pay"  # they belong together
    FIRST_START = "first_start"  # the ledger has no ids yet: create the mirror, then copy its ids
    WAIT = "wait"  # the ledger has lost something: watch whether others renew the mirror
    RECOVER = "recover"  # the ledger has lost something: read the whole journal
    RECOVER_NEWER = "recover_newer"  # Redis was restarted: read what is newer than the mirror
    CLONE = "clone"  # workers on another Redis use this journal: stop paying
    OTHER_LEDGER = "other_ledger"  # the journal belongs to another ledger: stop paying
    OTHER_JOURNAL = "other_journal"  # the ledger belongs to another journal: stop paying

    @property
    def needs_recovery(self) -> bool:
        """Whether the workers recover the ledger without a person."""
        return self in (IdentityVerdict.RECOVER, IdentityVerdict.RECOVER_NEWER)


def judge(
    ledger: LedgerIdentity,
    mirror: Mirror | None,
    *,
    own_journal: str,
    renewed_by_others: bool | None,
) -> IdentityVerdict:
    """Compare a ledger with the mirror of this worker's journal, which must be read first.

    A ledger that was restored from a backup, and a clone of a ledger that is in use, hold the same
    records. The difference is that the workers of a ledger in use renew the mirror.

    Args:
        ledger: The identity in the ledger.
        mirror: The mirror, or None if the journal has none.
        own_journal: The id of this worker's journal.
        renewed_by_others: Whether workers on another server renew the mirror; None while that is
            not known yet.
    """
    if ledger.journal_id not in ("", own_journal):
        return IdentityVerdict.OTHER_JOURNAL
    if mirror is None:
        return IdentityVerdict.FIRST_START if ledger.is_new else IdentityVerdict.OTHER_JOURNAL
    if mirror.journal_id != own_journal:
        return IdentityVerdict.OTHER_JOURNAL
    if ledger.ledger_id not in ("", mirror.ledger_id):
        return IdentityVerdict.OTHER_LEDGER
    has_lost = ledger.is_new or ledger.counter < mirror.counter
    is_same = ledger.epoch == mirror.epoch and ledger.run_id == mirror.run_id
    if is_same and not has_lost and not mirror.recovering:
        return IdentityVerdict.PAY
    if _is_starting(ledger, mirror):
        return IdentityVerdict.FIRST_START
    if renewed_by_others or ledger.stopped:
        return IdentityVerdict.CLONE
    if renewed_by_others is None:
        return IdentityVerdict.WAIT
    # Until a recovery ends, the mirror's epoch is higher than the ledger's.
    is_older = mirror.since == 0 if mirror.recovering else ledger.epoch != mirror.epoch
    return IdentityVerdict.RECOVER if has_lost or is_older else IdentityVerdict.RECOVER_NEWER


def _is_starting(ledger: LedgerIdentity, mirror: Mirror) -> bool:
    """Return whether a mirror was created for this ledger, which does not have its ids yet.

    A ledger that has lost its ids has lost the note of the start too, or is on another run of the
    server.
    """
    return (
        ledger.is_new
        and ledger.starting == mirror.ledger_id
        and ledger.run_id == mirror.run_id
        and ledger.counter >= mirror.counter
        and mirror.epoch == FIRST_EPOCH
        and not mirror.recovering
    )


class RenewalWatch:
    """Finds out whether workers on another server renew the mirror.

    Workers whose ledger belongs to the mirror write their server's run into it, and renew it at
    every second heartbeat at least. So no others are alive if the mirror names the run of this
    ledger's server, or if it stays unchanged for long enough.

    Args:
        seconds: How long it must stay unchanged: three heartbeats.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._run_id = ""
        self._version = ""
        self._since = 0.0
        self._renewals = 0

    def observe(self, found: ReadMirror, run_id: str, now: float) -> bool | None:
        """Compare a reading of the mirror with the ones before.

        Args:
            found: The mirror.
            run_id: The run of the ledger's server.
            now: The time in seconds, by a monotonic clock.

        Returns:
            Whether workers on another server renew it; None if that is not known yet.
        """
        if found.mirror.run_id == run_id:
            self._version = ""
            return False
        if not self._version or run_id != self._run_id:
            self._run_id, self._renewals = run_id, 0
            self._version, self._since = found.version, now
        elif found.version != self._version:
            self._renewals += 1
            self._version, self._since = found.version, now
        if self._renewals >= ENOUGH_RENEWALS:
            return True
        return False if now - self._since >= self._seconds else None
