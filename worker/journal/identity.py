"""Whether a ledger and a journal belong together. Pure: both identities in, verdict out."""

from dataclasses import dataclass
from enum import StrEnum

from worker.journal.mirror import Mirror


@dataclass(frozen=True, slots=True)
class LedgerIdentity:
    """What the ledger says of itself.

    Attributes:
        journal_id: The journal that it belongs to, or "" where the ids are gone.
        ledger_id: Its own id, or "".
        epoch: The epoch that the last recovery wrote.
        counter: How many intents to pay it has written.
        run_id: The run id of its Redis server.
    """

    journal_id: str
    ledger_id: str
    epoch: int
    counter: int
    run_id: str

    @property
    def is_new(self) -> bool:
        """Whether it holds no ids: it is new, was flushed, or comes from an older version."""
        return not self.ledger_id


class Verdict(StrEnum):
    """What follows from a comparison of both identities."""

    PAY = "pay"  # they belong together
    FIRST_START = "first_start"  # neither has ids: create the mirror, then copy its ids
    RECOVER = "recover"  # the ledger has lost something: read the whole journal
    RECOVER_NEWER = "recover_newer"  # Redis was restarted: read what is newer than the mirror
    CLONE = "clone"  # another fleet pays with this journal: stop paying
    OTHER_LEDGER = "other_ledger"  # the journal belongs to another ledger: stop paying
    OTHER_JOURNAL = "other_journal"  # the ledger belongs to another journal: stop paying


def judge(ledger: LedgerIdentity, mirror: Mirror | None, *, renewed_by_others: bool) -> Verdict:
    """Compare a ledger with the mirror of this worker's journal. Read the mirror first.

    Args:
        ledger: What the ledger says of itself.
        mirror: The mirror, or None if the journal has none.
        renewed_by_others: Whether a process that is not one of this ledger's workers has renewed
            the mirror within the last three heartbeats.
    """
    if mirror is None:
        return Verdict.FIRST_START if ledger.is_new else Verdict.OTHER_JOURNAL
    if not ledger.is_new:
        if ledger.journal_id != mirror.journal_id:
            return Verdict.OTHER_JOURNAL
        if ledger.ledger_id != mirror.ledger_id:
            return Verdict.OTHER_LEDGER
        if ledger.epoch < mirror.epoch and not mirror.recovering:
            return Verdict.OTHER_LEDGER
        unchanged = ledger.epoch == mirror.epoch and ledger.counter >= mirror.counter
        if unchanged and ledger.run_id == mirror.run_id:
            return Verdict.PAY
        if renewed_by_others:
            return Verdict.CLONE
        return Verdict.RECOVER_NEWER if unchanged else Verdict.RECOVER
    return Verdict.CLONE if renewed_by_others else Verdict.RECOVER
