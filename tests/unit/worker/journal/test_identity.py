"""The table of identities, row by row, and the mirror on each kind of store."""

from dataclasses import replace

import pytest

from worker.journal.identity import LedgerIdentity, Verdict, judge
from worker.journal.journal import Journal
from worker.journal.mirror import Mirror, MirrorObject
from worker.journal.stores import JournalFailed

MIRROR = Mirror("j", "l", epoch=3, counter=10, run_id="run", writer="w", renewed_at=0)
LEDGER = LedgerIdentity("j", "l", epoch=3, counter=10, run_id="run")
NEW = LedgerIdentity("", "", epoch=0, counter=0, run_id="run")


@pytest.mark.parametrize(
    ("ledger", "mirror", "renewed_by_others", "expected"),
    [
        (LEDGER, MIRROR, False, Verdict.PAY),
        (replace(LEDGER, counter=12), MIRROR, True, Verdict.PAY),
        (NEW, None, False, Verdict.FIRST_START),
        (NEW, MIRROR, False, Verdict.RECOVER),
        (replace(LEDGER, counter=9), MIRROR, False, Verdict.RECOVER),
        (replace(LEDGER, run_id="other"), MIRROR, False, Verdict.RECOVER_NEWER),
        (replace(LEDGER, run_id="other", counter=9), MIRROR, False, Verdict.RECOVER),
        (NEW, MIRROR, True, Verdict.CLONE),
        (replace(LEDGER, counter=9), MIRROR, True, Verdict.CLONE),
        (replace(LEDGER, run_id="other"), MIRROR, True, Verdict.CLONE),
        (replace(LEDGER, ledger_id="x"), MIRROR, False, Verdict.OTHER_LEDGER),
        (replace(LEDGER, epoch=2), MIRROR, False, Verdict.OTHER_LEDGER),
        (replace(LEDGER, epoch=2), replace(MIRROR, recovering=True), False, Verdict.RECOVER),
        (LEDGER, None, False, Verdict.OTHER_JOURNAL),
        (replace(LEDGER, journal_id="x"), MIRROR, False, Verdict.OTHER_JOURNAL),
    ],
)
def test_each_row_of_the_table(
    ledger: LedgerIdentity, mirror: Mirror | None, renewed_by_others: bool, expected: Verdict
) -> None:
    assert judge(ledger, mirror, renewed_by_others=renewed_by_others) is expected


def test_a_mirror_is_created_once_and_replaced_by_who_read_it(journal: Journal) -> None:
    mirror = MirrorObject(journal)
    assert mirror.read() is None
    assert mirror.create(MIRROR)
    assert not mirror.create(replace(MIRROR, journal_id="late"))
    found = mirror.read()
    assert found is not None
    assert found.mirror == MIRROR
    assert mirror.replace(replace(MIRROR, counter=11), found.version)
    assert not mirror.replace(replace(MIRROR, counter=12), found.version)


def test_a_damaged_mirror_says_what_to_do(journal: Journal) -> None:
    journal.store.create(journal.key("mirror"), b'{"journal_id"', point="journal.identity")
    with pytest.raises(JournalFailed) as caught:
        MirrorObject(journal).read()
    assert "recover --new-journal" in caught.value.remedy
