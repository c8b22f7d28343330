"""Workers with different journals: only the ledger's journal allows payments and withdrawals."""

from dataclasses import replace
from pathlib import Path

from redis import Redis

from tests.unit.worker.journal.conftest import entry
from worker.journal.journal import Journal
from worker.ledger.ledger import Ledger
from worker.ledger.model.jobs import Turn
from worker.ledger.model.submissions import NewJob
from worker.ledger.payments import Payments
from worker.reconciliation import MaybeCharged, review


def test_the_first_journal_is_the_ledgers(redis: Redis, tmp_path: Path) -> None:
    ledger = Ledger(redis, "t", lease_seconds=30)
    payments = Payments(ledger)
    first, other = (Journal.open((tmp_path / name).as_uri(), "t") for name in "ab")
    payments.record_balance("a", read_at=1, available=900, frozen=0, total=900)

    def begin(job_id: str, journal: Journal) -> str:
        fence = ledger.claim(job_id, "w", "n").fence
        ledger.update_facts(job_id, fence, {"account": "a"})
        return payments.begin(
            *(job_id, fence), turn=1, call=job_id, cost=1, cap=9, journal_id=journal.id()
        ).verdict

    jobs = [f"job-{number}" for number in range(3)]
    for job_id in jobs:
        ledger.submit(NewJob(id=job_id, payload={}, fingerprint=job_id))
    ledger.due(3, room=3, admit=3)
    assert payments.journal_id() == ""
    same = Journal.open((tmp_path / "a").as_uri(), "t")
    journals = zip(jobs, (first, same, other), strict=True)
    assert [begin(job_id, journal) for job_id, journal in journals] == ["OK", "OK", "OTHER_JOURNAL"]
    assert payments.journal_id() == first.id()


def test_an_intent_is_not_withdrawn_because_another_journal_has_no_entry(
    redis: Redis, tmp_path: Path
) -> None:
    """The message was sent by a worker with the other journal: it would be paid again."""
    ledger = Ledger(redis, "t", lease_seconds=30)
    payments = Payments(ledger)
    mine, other = (Journal.open((tmp_path / name).as_uri(), "t") for name in "ab")
    redis.hset(ledger.key("meta"), "journal_id", mine.id())
    ledger.submit(NewJob(id="job-1", payload={"image": "cat.jpg"}, fingerprint="f"))
    job = ledger.job("job-1")
    assert job is not None
    call = entry().call
    turn = Turn(number=1, call=call, outcome="sent", cost=100, attempt=1)
    job = replace(job, turns=(turn,))
    assert review(other, payments, job) == MaybeCharged()
    assert other.attempt("job-1", 1) is None, "nothing was closed there"
