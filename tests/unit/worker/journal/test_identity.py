"""The table of identities, row by row, and the mirror on each kind of store."""

from dataclasses import replace

import pytest

from worker.journal.identity import IdentityVerdict, LedgerIdentity, RenewalWatch, judge
from worker.journal.journal import Journal
from worker.journal.mirror import Mirror, MirrorObject, ReadMirror
from worker.journal.stores import JournalFailed

MIRROR = Mirror("j", "l", epoch=3, counter=10, run_id="run", writer="w", renewed_at=0)
LEDGER = LedgerIdentity("j", "l", epoch=3, counter=10, run_id="run")
NEWER, LOST = IdentityVerdict.RECOVER_NEWER, IdentityVerdict.RECOVER
NEW = LedgerIdentity("", "", epoch=0, counter=0, run_id="run")
STARTING, FIRST = replace(NEW, starting="l"), replace(MIRROR, epoch=1, counter=0)


@pytest.mark.parametrize(
    ("ledger", "mirror", "renewed_by_others", "expected"),
    [
        (LEDGER, MIRROR, False, IdentityVerdict.PAY),
        (replace(LEDGER, counter=12), MIRROR, True, IdentityVerdict.PAY),
        (NEW, None, False, IdentityVerdict.FIRST_START),
        (NEW, MIRROR, False, IdentityVerdict.RECOVER),
        (replace(LEDGER, counter=9), MIRROR, False, IdentityVerdict.RECOVER),
        (replace(LEDGER, run_id="other"), MIRROR, False, IdentityVerdict.RECOVER_NEWER),
        (replace(LEDGER, run_id="other", counter=9), MIRROR, False, IdentityVerdict.RECOVER),
        (NEW, MIRROR, True, IdentityVerdict.CLONE),
        (replace(LEDGER, counter=9), MIRROR, True, IdentityVerdict.CLONE),
        (replace(LEDGER, run_id="other"), MIRROR, True, IdentityVerdict.CLONE),
        (replace(LEDGER, ledger_id="x"), MIRROR, False, IdentityVerdict.OTHER_LEDGER),
        (replace(LEDGER, run_id="other"), MIRROR, None, IdentityVerdict.WAIT),
        (NEW, MIRROR, None, IdentityVerdict.WAIT),
        (replace(LEDGER, stopped=True, run_id="other"), MIRROR, False, IdentityVerdict.CLONE),
        (replace(LEDGER, epoch=2), MIRROR, False, IdentityVerdict.RECOVER),
        (replace(LEDGER, epoch=2), MIRROR, True, IdentityVerdict.CLONE),
        (replace(LEDGER, epoch=4), MIRROR, False, IdentityVerdict.RECOVER),
        (replace(LEDGER, epoch=2), replace(MIRROR, recovering=True, since=5.0), False, NEWER),
        (
            replace(LEDGER, epoch=2, counter=9),
            replace(MIRROR, recovering=True, since=5.0),
            False,
            LOST,
        ),
        (
            replace(LEDGER, epoch=2),
            replace(MIRROR, recovering=True),
            False,
            IdentityVerdict.RECOVER,
        ),
        (LEDGER, None, False, IdentityVerdict.OTHER_JOURNAL),
        (replace(NEW, journal_id="x"), None, False, IdentityVerdict.OTHER_JOURNAL),
        (replace(NEW, journal_id="j"), None, False, IdentityVerdict.FIRST_START),
        (STARTING, None, False, IdentityVerdict.FIRST_START),
        (STARTING, FIRST, False, IdentityVerdict.FIRST_START),
        (replace(STARTING, starting="x"), FIRST, False, LOST),
        (NEW, FIRST, False, LOST),
        (STARTING, replace(FIRST, counter=1), False, LOST),
        (STARTING, replace(FIRST, epoch=2), False, LOST),
        (STARTING, replace(FIRST, recovering=True), False, LOST),
        (replace(STARTING, run_id="other"), FIRST, False, LOST),
        (replace(STARTING, run_id="other"), FIRST, None, IdentityVerdict.WAIT),
        (replace(STARTING, run_id="other"), FIRST, True, IdentityVerdict.CLONE),
        (replace(STARTING, journal_id="x"), FIRST, False, IdentityVerdict.OTHER_JOURNAL),
        (LEDGER, replace(MIRROR, journal_id="x"), False, IdentityVerdict.OTHER_JOURNAL),
        (replace(LEDGER, journal_id="x"), MIRROR, False, IdentityVerdict.OTHER_JOURNAL),
    ],
)
def test_each_row_of_the_table(
    ledger: LedgerIdentity,
    mirror: Mirror | None,
    renewed_by_others: bool | None,
    expected: IdentityVerdict,
) -> None:
    verdict = judge(ledger, mirror, own_journal="j", renewed_by_others=renewed_by_others)
    assert verdict is expected


def read_at(run_id: str, version: str) -> ReadMirror:
    """A reading of a mirror that workers on this run of a server have renewed."""
    return ReadMirror(replace(MIRROR, run_id=run_id), version, 0.0)


def test_a_mirror_of_this_run_is_renewed_by_nobody_else() -> None:
    watch = RenewalWatch(30)
    assert [watch.observe(read_at("own", str(at)), "own", at) for at in range(5)] == [False] * 5


def test_a_mirror_that_nobody_renews_for_long_enough_is_not_anothers() -> None:
    watch = RenewalWatch(30)
    seen = [watch.observe(read_at("old", "v1"), "own", at) for at in (0, 10, 20, 30)]
    assert seen == [None, None, None, False]


def test_one_late_renewal_only_makes_the_watch_longer_and_two_show_another_fleet() -> None:
    watch = RenewalWatch(30)
    readings = [(0, "v1"), (10, "v2"), (30, "v2"), (39, "v2")]
    assert [watch.observe(read_at("old", v), "own", at) for at, v in readings] == [None] * 4
    assert watch.observe(read_at("old", "v2"), "own", 40) is False
    assert watch.observe(read_at("old", "v3"), "own", 41) is True


def test_another_restart_begins_the_watch_again() -> None:
    watch = RenewalWatch(30)
    assert watch.observe(read_at("old", "v1"), "own", 0) is None
    assert watch.observe(read_at("old", "v1"), "later", 31) is None
    assert watch.observe(read_at("old", "v1"), "later", 61) is False


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
