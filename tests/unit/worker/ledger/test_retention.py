"""Ended jobs are pruned in time; counters stay right, and keys stay known."""

from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.ledger_access import recent_ids, row_ids, submit_many
from tests.unit.worker.ledger.conftest import LedgerHarness
from worker.journal.journal import Journal
from worker.ledger.clip_names import reserve_name
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob
from worker.ledger.model.verdicts import CancelVerdict
from worker.reconciliation import new_entry
from worker.runtime.retention import count_prunable, forget_payments, prune
from worker.storage.errors import StoreError
from worker.storage.store import Store

DAY = 86_400


def ended(
    harness: LedgerHarness,
    job_id: str,
    state: State = State.SUCCEEDED,
    *,
    batch: str = "",
    **facts: str,
) -> None:
    """End a job now, with its notification delivered."""
    harness.ledger.submit(
        NewJob(id=job_id, payload={}, fingerprint="f", key=f"key of {job_id}", batch_id=batch)
    )
    harness.admit()
    fence = harness.claim(job_id, nonce=uuid4().hex)
    assert harness.ledger.commit(job_id, fence, Commit(state, facts=facts))
    harness.ledger.acknowledge_notifications([(f"job:{job_id}", 1)])


def now(harness: LedgerHarness) -> int:
    """Return the time of the test's clock, in ms."""
    return int(str(harness.redis.get("test:clock")))


def ago(harness: LedgerHarness, days: float = 30) -> int:
    """Return the time ``days`` ago."""
    return now(harness) - int(days * DAY * 1000)


def pruned(harness: LedgerHarness, days: float = 30) -> tuple[int, int]:
    """Prune, and check that a dry run has announced the same."""
    announced = count_prunable(harness.ledger, ago(harness, days), clips=False)
    found = prune(harness.ledger, ago(harness, days))
    assert found == announced
    return found.jobs, found.batches


def test_jobs_are_pruned_after_their_retention_and_leave_only_their_keys(
    harness: LedgerHarness,
) -> None:
    harness.ledger.open_batch("b", "spring", now(harness))
    before = set(harness.redis.scan_iter("*")) | {"meta:{t}"}
    ended(harness, "one", batch="b", clip_name="spring-b/1-cat")
    reserve_name(harness.ledger, "spring-b", "1-cat", "one")
    ended(harness, "two", State.FAILED, batch="b")
    harness.ledger.seal_batch("b")
    ended(harness, "single")
    harness.later(29 * DAY)
    assert pruned(harness) == (0, 0)
    ended(harness, "late", batch="b")
    harness.later(2 * DAY)
    assert pruned(harness) == (1, 0), "the rows of a batch are kept together"
    assert pruned(harness) == (0, 0), "safe twice"
    assert set(row_ids(harness.ledger, "b")) == {"one", "two", "late"}
    assert set(recent_ids(harness.ledger, 10)) == {"one", "two", "late"}
    batch = harness.ledger.batch("b")
    assert batch is not None
    assert batch.counts == harness.ledger.counts()[0] == {State.SUCCEEDED: 2, State.FAILED: 1}
    harness.later(31 * DAY)
    assert pruned(harness) == (3, 1)
    left = {key for key in harness.redis.scan_iter("*") if not key.startswith("pace:")} - before
    names = ("one", "two", "late", "single")
    keys = {f"idem:{{t}}:key of {name}" for name in names} | {"idem:{t}:batch:b:f"}
    # No worker runs that would send the last states to Flower.
    assert left <= keys | {"counts:{t}", "task_events:{t}"}
    assert harness.ledger.counts()[0] == {}
    assert harness.ledger.batch("b") is None
    assert harness.ledger.batch_ids() == []


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.CANCELLED])
def test_a_late_repetition_finds_the_tombstone(harness: LedgerHarness, state: State) -> None:
    ended(harness, "one", state)
    assert harness.ledger.tombstone("key of one") is None
    harness.later(31 * DAY)
    pruned(harness)
    again = NewJob(id="other", payload={}, fingerprint="f", key="key of one")
    assert harness.ledger.submit(again).verdict == "DUPLICATE"
    assert harness.ledger.submit(again).job_id == "one"
    assert harness.ledger.tombstone("key of one") is state
    assert harness.redis.get("idem:{t}:key of one") == f"one|f|{state}"
    foreign = NewJob(id="other", payload={}, fingerprint="g", key="key of one")
    assert harness.ledger.submit(foreign).verdict == "CONFLICT"
    assert harness.admit() == []


def test_a_tombstone_lasts_for_ever_or_as_long_as_configured(harness: LedgerHarness) -> None:
    ended(harness, "one")
    harness.later(31 * DAY)
    pruned(harness)
    assert harness.redis.ttl("idem:{t}:key of one") == -1
    ended(harness, "two")
    harness.later(31 * DAY)
    prune(harness.ledger, ago(harness), tombstone_days=90)
    prune(harness.ledger, ago(harness), tombstone_days=90)
    assert 89 * DAY < harness.redis.ttl("idem:{t}:key of two") <= 90 * DAY
    assert harness.redis.ttl("idem:{t}:key of one") == -1
    assert harness.ledger.tombstone("key of two") is State.SUCCEEDED


def test_the_journal_forgets_a_payment_only_after_its_tombstone(
    harness: LedgerHarness, tmp_path: Path
) -> None:
    journal = Journal.open(str(tmp_path), "t")
    for job_id, days in (("kept", None), ("forgotten", 90)):
        fence = harness.running(job_id)
        assert harness.begin(job_id, fence, f"c-{job_id}") == "OK"
        job = harness.ledger.job(job_id)
        assert job is not None
        assert journal.create(new_entry(job, call=f"c-{job_id}", attempt=1)) == "created"
        assert harness.ledger.commit(job_id, fence, Commit(State.SUCCEEDED))
        harness.ledger.acknowledge_notifications([(f"job:{job_id}", 1)])
        harness.later(31 * DAY)
        prune(harness.ledger, ago(harness), tombstone_days=days)
    harness.later(90 * DAY)
    assert forget_payments(harness.ledger, journal, now(harness)) == 0
    assert len(journal.attempts("forgotten")) == 1
    harness.later(DAY)
    assert forget_payments(harness.ledger, journal, now(harness)) == 1
    assert [len(journal.attempts(job_id)) for job_id in ("kept", "forgotten")] == [1, 0]
    assert forget_payments(harness.ledger, journal, now(harness)) == 0


def test_jobs_that_have_not_ended_or_were_not_notified_are_not_pruned(
    harness: LedgerHarness,
) -> None:
    harness.submit("waits")
    harness.submit("held")
    harness.admit()
    fence = harness.claim("held")
    harness.ledger.commit("held", fence, Commit(State.HELD, reason=None))
    ended(harness, "pending")
    harness.redis.zadd("outbox:{t}", {"job:pending": 1})
    harness.later(100 * DAY)
    assert pruned(harness) == (0, 0)
    assert set(recent_ids(harness.ledger, 10)) == {"waits", "held", "pending"}


def test_an_open_batch_keeps_all_its_rows(harness: LedgerHarness) -> None:
    harness.ledger.open_batch("b", "spring", now(harness))
    ended(harness, "early", batch="b")
    harness.later(100 * DAY)
    assert pruned(harness) == (0, 0), "its manifest is not complete"
    harness.ledger.seal_batch("b")
    harness.submit("held", batch_id="b")
    harness.admit()
    fence = harness.claim("held", nonce=uuid4().hex)
    harness.later(100 * DAY)
    assert pruned(harness) == (0, 0), "a row runs"
    harness.ledger.commit("held", fence, Commit(State.HELD, reason=Reason.STORE))
    harness.later(100 * DAY)
    assert pruned(harness) == (0, 0), "a row is held"
    harness.ledger.cancel("held")
    harness.ledger.acknowledge_notifications([("job:held", 2)])
    harness.later(29 * DAY)
    assert pruned(harness) == (0, 0)
    harness.redis.zadd("outbox:{t}", {"index:b": 1})
    harness.later(2 * DAY)
    assert pruned(harness) == (0, 0), "its index is not written"
    harness.redis.zrem("outbox:{t}", "index:b")
    assert pruned(harness) == (2, 1)


def test_an_empty_batch_whose_manifest_is_being_submitted_is_not_pruned(
    harness: LedgerHarness,
) -> None:
    harness.ledger.open_batch("b", "spring", now(harness))
    harness.later(40 * DAY)
    harness.redis.hset("batch:{t}:b", mapping={"sealed": "0", "unsealed_at": now(harness)})
    assert pruned(harness) == (0, 0)
    harness.later(31 * DAY)
    assert pruned(harness) == (0, 1)


def test_pruning_passes_over_a_page_of_jobs_that_stay(harness: LedgerHarness) -> None:
    for number in range(30):
        harness.submit(f"waits-{number}")
    submit_many(
        harness.ledger,
        (NewJob(id=f"j-{n}", payload={}, fingerprint="f", key=f"k-{n}") for n in range(1200)),
    )
    assert (
        harness.ledger.cancel_many(f"j-{n}" for n in range(1200)).count(CancelVerdict.CANCELLED)
        == 1200
    )
    harness.redis.delete("outbox:{t}")
    harness.later(31 * DAY)
    assert pruned(harness) == (1200, 0)
    assert len(recent_ids(harness.ledger, 2000)) == 30


def test_clips_are_deleted_only_on_request(harness: LedgerHarness, tmp_path: Path) -> None:
    store = Store((tmp_path / "out").as_uri())
    for name in ("a.mp4", "a.jpg"):
        (tmp_path / name).write_bytes(b"x")
        store.put_file(tmp_path / name, f"single/{name}")
    clip = '{"key": "single/a.mp4", "poster": "single/a.jpg"}'
    ended(harness, "kept", clip=clip)
    harness.later(31 * DAY)
    pruned(harness)
    assert store.exists("single/a.mp4")
    ended(harness, "gone", clip=clip)
    harness.later(31 * DAY)
    announced = count_prunable(harness.ledger, ago(harness), clips=True)
    found = prune(harness.ledger, ago(harness), clips=store)
    assert found == announced
    assert (found.jobs, found.clips) == (1, 1)
    assert not store.exists("single/a.mp4")
    assert not store.exists("single/a.jpg")


def test_a_job_whose_clip_cannot_be_deleted_is_not_pruned(
    harness: LedgerHarness, tmp_path: Path
) -> None:
    store = Store((tmp_path / "out").as_uri())
    (tmp_path / "out" / "single" / "a.mp4").mkdir(parents=True)
    ended(harness, "j", clip='{"key": "single/a.mp4", "poster": null}')
    harness.later(31 * DAY)
    with pytest.raises(StoreError):
        prune(harness.ledger, ago(harness), clips=store)
    assert harness.ledger.job("j") is not None


def test_a_succeeded_job_keeps_the_facts_for_exports_and_edits(harness: LedgerHarness) -> None:
    work = {"tries": "0", "baseline": "x", "polls": "3"}
    ended(harness, "j", State.SUCCEEDED, draft="z:d", session_id="s", **work)
    job = harness.ledger.job("j")
    assert job is not None
    assert {"draft", "session_id"} <= job.facts.keys()
    assert not work.keys() & job.facts.keys()
