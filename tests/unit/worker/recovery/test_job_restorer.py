"""A recovery of the jobs of a journal, on a real ledger."""

from dataclasses import asdict

import pytest

from tests.support.ledger_access import due_notifications
from tests.unit.worker.recovery.conftest import CLIP, Scene
from worker.journal.entries import Mark
from worker.ledger.model.states import Reason, State
from worker.ledger.model.submissions import NewJob
from worker.recovery.unreadable_entries import UnreadableEntries


def test_an_empty_ledger_gets_back_what_was_paid(scene: Scene) -> None:
    paid = scene.pay("job-1", key="k", priority="high")
    counts = scene.restore_all()
    job = scene.job("job-1")
    assert asdict(counts) == dict.fromkeys(asdict(counts), 0) | {"resumed": 1}
    assert (job.state, job.call, job.flow) == (State.SETTLING, paid.call, "single:high")
    assert (job.fact("session_id"), job.fact("baseline")) == (paid.session_id, paid.baseline)
    assert scene.redis.get("idem:{rq}:k") == "job-1|f"
    assert scene.redis.zscore("agenda:{rq}", "job-1") is not None
    assert scene.ledger.flows() == {"single:high": 0}
    assert scene.restore_all().known == 1


def test_ended_jobs_become_what_they_were(scene: Scene) -> None:
    for job_id, state in (("job-1", "succeeded"), ("job-2", "failed"), ("job-3", "cancelled")):
        scene.pay(job_id)
        scene.end(job_id, state)
    counts = scene.restore_all()
    assert (counts.delivered, counts.resumed) == (3, 0)
    first, second, third = map(scene.job, ("job-1", "job-2", "job-3"))
    assert (first.state, first.fact("clip"), first.fact("stored")) == (State.SUCCEEDED, CLIP, None)
    assert (second.state, second.reason, second.message) == (
        State.FAILED,
        Reason.BAD_CLIP,
        "broken",
    )
    assert third.state is State.CANCELLED
    assert [job.paid_messages for job in (first, second, third)] == [1, 1, 1]
    assert scene.redis.zcard("agenda:{rq}") == 0
    assert sorted(due_notifications(scene.ledger)) == ["job:job-1", "job:job-2", "job:job-3"]
    assert scene.restore_all().known == 3


def test_a_job_whose_clip_is_gone_continues_from_its_session(scene: Scene) -> None:
    scene.pay("job-1")
    scene.end("job-1", "succeeded", has_clip=False)
    counts = scene.restore_all()
    assert (counts.delivered, counts.resumed) == (0, 1)
    assert scene.job("job-1").state is State.SETTLING


def test_a_dry_run_counts_the_same_and_writes_nothing(scene: Scene) -> None:
    scene.pay("job-1")
    scene.pay("job-2")
    scene.end("job-2", "succeeded")
    scene.journal.store.create(
        f"rq/jobs/{scene.journal.place_of('job-3')}/1", b"{", point="journal.create"
    )
    before = sorted(scene.redis.scan_iter("*"))
    tried = scene.restore_all(dry_run=True)
    assert sorted(scene.redis.scan_iter("*")) == before
    assert asdict(tried) == asdict(scene.restore_all())
    assert (tried.delivered, tried.resumed, tried.unreadable) == (1, 1, 1)


def test_what_was_not_charged_is_not_brought_back(scene: Scene) -> None:
    scene.pay("job-1")
    scene.journal.mark("job-1", 1, Mark.NOT_CHARGED, "429")
    counts = scene.restore_all()
    assert not any(asdict(counts).values())
    assert scene.ledger.job("job-1") is None


def test_an_older_record_takes_over_the_payment_that_it_lacks(scene: Scene) -> None:
    scene.ledger.submit(NewJob(id="job-1", payload={"image": "cat.jpg"}, fingerprint="f"))
    paid = scene.pay("job-1")
    assert scene.restore_all().resumed == 1
    job = scene.job("job-1")
    assert (job.state, job.call) == (State.SETTLING, paid.call)
    assert scene.ledger.flows().get("single:normal", 0) == 0


def test_a_job_that_a_worker_works_on_is_left_to_its_step(scene: Scene) -> None:
    scene.ledger.submit(NewJob(id="job-1", payload={"image": "cat.jpg"}, fingerprint="f"))
    scene.ledger.due(9, room=9, admit=9)
    assert scene.ledger.claim("job-1", "w", "n").verdict == "OK"
    scene.pay("job-1")
    scene.end("job-1", "succeeded")
    assert scene.restore_all().resumed == 1
    assert scene.job("job-1").state is State.PREPARING


def test_unreadable_entries_are_counted_and_a_job_with_an_earlier_one_is_submitted(
    scene: Scene,
) -> None:
    """Its step reads the journal, and holds it."""
    scene.pay("job-1")
    scene.journal.mark("job-1", 1, Mark.NOT_CHARGED, "429")
    for job_id, number in (("job-1", 2), ("job-2", 1)):
        key = f"rq/jobs/{scene.journal.place_of(job_id)}/{number}"
        scene.journal.store.create(key, b'{"format"', point="journal.create")
    counts = scene.restore_all()
    assert (counts.held, counts.unreadable) == (1, 2)
    assert scene.job("job-1").state is State.QUEUED
    assert scene.ledger.job("job-2") is None
    aside = UnreadableEntries(scene.ledger)
    assert (aside.count(), aside.some(5)) == (2, ["job-1", "job-2"])
    assert scene.restore_all().unreadable == 2
    # The entry is restored from a backup.
    scene.journal.store.delete(f"rq/jobs/{scene.journal.place_of('job-2')}/1")
    scene.pay("job-2")
    assert (scene.restore_all().resumed, aside.some(5)) == (1, ["job-1"])


def test_rows_come_back_to_their_batch_which_is_incomplete(scene: Scene) -> None:
    scene.pay("job-1", batch_id="b", row=7, shared=True)
    scene.restore_all()
    batch = scene.ledger.batch("b")
    assert batch is not None
    assert (batch.total, batch.committed, batch.sealed, batch.shared) == (1, 100, False, True)
    assert scene.redis.hget("batch:{rq}:b", "shared:session_id") == "s-1"
    scene.ledger.open_batch("b", "spring", 1)
    batch = scene.ledger.batch("b")
    assert batch is not None
    assert batch.name == "spring"


@pytest.mark.parametrize("first", ["a", "b"])
def test_a_follow_up_comes_back_after_the_job_that_it_follows(scene: Scene, first: str) -> None:
    """The order of the journal is not that of the submissions."""
    second = "ab".replace(first, "")
    scene.pay(first)
    scene.pay(second, follows=first, previous=f"{first}/1")
    assert scene.restore_all().resumed == 2
    assert scene.job(second).fact("root") == first
    assert scene.job(first).fact("last_said") == second


def test_a_pruned_job_stays_pruned(scene: Scene) -> None:
    scene.redis.set("idem:{rq}:k", "job-1|f|succeeded")
    scene.pay("job-1", key="k")
    scene.end("job-1", "succeeded")
    assert scene.restore_all().known == 1
    assert scene.ledger.job("job-1") is None
