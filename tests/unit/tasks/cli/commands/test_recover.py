"""`reelqueue recover`: what it prints, its exit status, and what it refuses."""

import pytest

from tests.unit.tasks.conftest import ProducerHarness, RunCommand
from tests.unit.worker.journal.conftest import entry
from worker.journal.entries import Mark
from worker.journal.journal import Journal
from worker.journal.mirror import MirrorObject
from worker.ledger.model.states import State
from worker.ledger.payments import Payments
from worker.reconciliation import MaybeCharged, review
from worker.recovery.identity_guard import IdentityGuard
from worker.recovery.ledger_ids import LedgerIds

NOTHING = {"delivered": 0, "resumed": 0, "held": 0, "known": 0, "unreadable": 0}


def damage(journal: Journal, job_id: str) -> None:
    """Write an entry that is cut short."""
    key = f"rq/jobs/{journal.place_of(job_id)}/1"
    journal.store.create(key, b'{"format": 1, ', point="journal.create")


def test_an_empty_ledger_is_recovered_and_a_dry_run_changes_nothing(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    assert run_command("recover", "--json").records == [NOTHING]
    journal, ledger = harness.producer.journal, harness.producer.ledger
    for job_id in ("job-1", "job-2"):
        journal.create(entry(job_id=job_id))
    ledger.redis.flushdb()
    tried = run_command("recover", "--dry-run", "--json")
    assert (tried.code, tried.records) == (0, [NOTHING | {"resumed": 2}])
    assert ledger.redis.dbsize() == 0
    shown = run_command("recover", "--dry-run")
    assert "2 jobs would be recovered" in shown.out
    found = run_command("recover", "--json")
    assert (found.code, found.records) == (0, [NOTHING | {"resumed": 2}])
    assert ledger.counts()[0] == {State.SETTLING: 2}
    assert run_command("recover", "--json").records == [NOTHING | {"known": 2}]
    checks = {record["check"]: record for record in run_command("doctor", "--json").records}
    assert checks["ledger identity"]["ok"]
    assert checks["journal entries"]["found"] == "readable"


def test_doctor_reports_no_loss_while_the_first_worker_starts(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    producer = harness.producer
    guard = IdentityGuard(producer.ledger, producer.journal, writer="w", watch_seconds=0.0)
    assert guard._create_mirror(guard.compare().ledger), "its ids are not in the ledger yet"
    checks = {record["check"]: record for record in run_command("doctor", "--json").records}
    assert checks["ledger identity"]["ok"]
    assert "seconds after its start" in checks["ledger identity"]["remedy"]


def test_an_entry_that_cannot_be_read_is_counted_and_the_exit_status_is_1(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    journal = harness.producer.journal
    journal.create(entry(job_id="job-1"))
    damage(journal, "job-2")
    found = run_command("recover", "--json")
    assert (found.code, found.records) == (1, [NOTHING | {"resumed": 1, "unreadable": 1}])
    assert "cannot be read" in found.err
    checks = {record["check"]: record for record in run_command("doctor", "--json").records}
    assert checks["journal entries"]["ok"]
    assert "job-2" in checks["journal entries"]["found"]


def test_another_journal_is_refused_until_it_is_to_be_the_ledgers(
    run_command: RunCommand, harness: ProducerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The payments that the ledger knows are in the new journal, and are not withdrawn there."""
    assert run_command("recover").code == 0
    job_id, old = harness.submit(), harness.producer.journal
    harness.begin_payment(job_id)
    ledger = harness.producer.ledger
    ledger.redis.hset(ledger.key("job", job_id), mapping={"attempt:1": 2, "session:1": "s"})
    address = (harness.folder / "new").as_uri()
    monkeypatch.setenv("REELQUEUE_JOURNAL_URL", address)
    refused = run_command("recover", "--json")
    assert (refused.code, refused.out) == (3, "")
    assert "--new-journal" in refused.err
    assert run_command("recover", "--dry-run").code == 3
    moved = run_command("recover", "--new-journal", "--json")
    assert (moved.code, moved.records) == (0, [NOTHING | {"known": 1}])
    new, payments = Journal.open(address, "rq"), Payments(ledger)
    assert [attempt.mark for attempt in new.attempts(job_id)] == [Mark.NEVER_SENT, None]
    job = ledger.job(job_id)
    assert job is not None
    assert review(new, payments, job) == MaybeCharged()
    assert payments.journal_id() == new.id() != old.id()
    # The other way round, the old journal is not the ledger's any more.
    monkeypatch.delenv("REELQUEUE_JOURNAL_URL")
    assert run_command("recover").code == 3


def test_an_interrupted_move_pays_nothing_and_is_repeated(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    assert run_command("recover").code == 0
    ids = LedgerIds(harness.producer.ledger)
    ids.begin_move()
    journal = harness.producer.journal
    assert Payments(harness.producer.ledger).journal_id() != journal.id()
    assert run_command("recover").code == 3
    assert run_command("recover", "--new-journal").code == 0
    assert Payments(harness.producer.ledger).journal_id() == journal.id()


def test_a_damaged_mirror_says_what_to_do_and_that_helps(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    assert run_command("recover").code == 0
    journal = harness.producer.journal
    journal.store.put(journal.key("mirror"), b"{")
    refused = run_command("recover", "--json")
    assert (refused.code, refused.out) == (3, "")
    assert "recover --new-journal" in refused.err
    assert run_command("recover", "--new-journal").code == 0
    assert MirrorObject(journal).read() is not None


def test_a_journal_that_cannot_be_read_ends_it_with_a_sentence(
    run_command: RunCommand, harness: ProducerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    (harness.folder / "taken").write_text("a file")
    monkeypatch.setenv("REELQUEUE_JOURNAL_URL", str(harness.folder / "taken"))
    found = run_command("recover", "--json")
    assert (found.code, found.out) == (3, "")
    assert "taken" in found.err


@pytest.mark.parametrize("words", [["--journal"], ["job-1"], ["--dry-run=maybe"]])
def test_wrong_arguments_are_refused(run_command: RunCommand, words: list[str]) -> None:
    assert run_command("recover", *words).code == 2
