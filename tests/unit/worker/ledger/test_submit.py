"""Submitting jobs: keys, pages, and what a broken connection leaves."""

from collections.abc import Iterator

import pytest
from redis.exceptions import ResponseError

from tests.support.ledger_access import row_ids, submit_many, submit_pages
from tests.unit.worker.ledger.conftest import LedgerHarness
from worker.ledger.model.states import State
from worker.ledger.model.submissions import NewJob


def test_submit_twice_is_one_job(harness: LedgerHarness) -> None:
    first = harness.ledger.submit(NewJob(id="j", payload={"a": 1}, fingerprint="f", key="k"))
    again = harness.ledger.submit(NewJob(id="j2", payload={"a": 1}, fingerprint="f", key="k"))
    assert (first.verdict, again.verdict, again.job_id) == ("OK", "DUPLICATE", "j")
    assert harness.ledger.counts()[0] == {State.QUEUED: 1}
    assert harness.places("j") == ["flow"]


def test_a_known_key_with_another_payload_is_a_conflict(harness: LedgerHarness) -> None:
    harness.ledger.submit(NewJob(id="j", payload={}, fingerprint="f", key="k"))
    other = harness.ledger.submit(NewJob(id="j2", payload={}, fingerprint="g", key="k"))
    assert (other.verdict, other.job_id) == ("CONFLICT", "j")


def test_a_repeated_submit_without_a_key_creates_no_second_job(harness: LedgerHarness) -> None:
    harness.submit("j")
    harness.submit("j")
    assert harness.redis.lrange("flow:{t}:single:normal", 0, -1) == ["j"]


def test_many_jobs_of_many_batches_are_each_in_their_flow(harness: LedgerHarness) -> None:
    harness.ledger.open_batch("paused", "name", 1)
    harness.ledger.pause("paused")
    batches = ("", "open", "paused")
    jobs = [
        NewJob(
            id=f"j{n}",
            payload={"prompt": "Über «alles», 慢"},
            fingerprint=str(n),
            key=f"k{n}",
            priority=("low", "high")[n % 2],
            batch_id=batches[n % 3],
            row=1000 - n,
            flow_name="single" if n % 5 == 0 else "",
        )
        for n in range(600)
    ]
    done = submit_many(harness.ledger, [*jobs[:300], *jobs[100:200], *jobs[300:]])
    verdicts = ["OK"] * 300 + ["DUPLICATE"] * 100 + ["OK"] * 300
    assert [answer.verdict for answer in done] == verdicts
    assert harness.ledger.counts()[0] == {State.QUEUED: 600}
    for name in batches[1:]:
        mine = [job for job in jobs if job.batch_id == name]
        batch = harness.ledger.batch(name)
        assert batch is not None
        assert (batch.total, batch.counts[State.QUEUED]) == (200, 200)
        assert row_ids(harness.ledger, name) == [job.id for job in reversed(mine)]
    flows = {flow for job in jobs if (flow := job.flow)}
    assert set(harness.ledger.flows()) == {flow for flow in flows if not flow.startswith("paused")}
    for flow in flows:
        waiting = harness.redis.lrange(f"flow:{{t}}:{flow}", 0, -1)
        assert waiting == [job.id for job in jobs if job.flow == flow]
    record = harness.ledger.job("j7")
    assert record is not None
    assert record.payload == jobs[7].payload


def test_jobs_before_one_that_cannot_be_written_are_in_their_flows(harness: LedgerHarness) -> None:
    harness.redis.rpush("idem:{t}:k1", "not a text")
    jobs = [NewJob(id=f"j{n}", payload={}, fingerprint="f", key=f"k{n}") for n in range(3)]
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        submit_many(harness.ledger, jobs)
    assert harness.places("j0") == ["flow"]
    assert harness.ledger.counts()[0] == {State.QUEUED: 1}
    harness.redis.delete("idem:{t}:k1")
    again = [answer.verdict for answer in submit_many(harness.ledger, jobs)]
    assert again == ["DUPLICATE", "OK", "OK"]
    assert harness.admit() == ["j0", "j1", "j2"]


@pytest.mark.parametrize("broken", [1, 2, 5])
def test_a_connection_that_breaks_between_pages_loses_and_duplicates_no_job(
    harness: LedgerHarness, broken: int
) -> None:
    def made() -> Iterator[list[NewJob]]:
        for page in range(6):
            if page == broken:
                harness.redis.script_flush()
                harness.redis.client_kill_filter(_type="normal")
            yield [new(f"j{page}-{row}", page * 10 + row) for row in range(10)]

    def new(job_id: str, row: int) -> NewJob:
        return NewJob(job_id, {}, fingerprint="f", key=job_id, batch_id="b", row=row)

    answers = [answer for page in submit_pages(harness.ledger, made()) for answer in page]
    assert {answer.verdict for answer in answers} <= {"OK", "DUPLICATE"}
    ids = [answer.job_id for answer in answers]
    assert ids == [job.id for page in made() for job in page]
    assert harness.ledger.counts()[0] == {State.QUEUED: 60}
    assert harness.redis.lrange("flow:{t}:b:normal", 0, -1) == ids


def test_the_next_page_is_taken_while_the_previous_one_is_written(harness: LedgerHarness) -> None:
    seen = []

    def made() -> Iterator[list[NewJob]]:
        for page in range(3):
            seen.append(f"made {page}")
            yield [NewJob(id=f"j{page}", payload={}, fingerprint="f")]

    for page, _ in enumerate(submit_pages(harness.ledger, made())):
        seen.append(f"written {page}")
    assert seen == ["made 0", "made 1", "written 0", "made 2", "written 1", "written 2"]


def test_a_refused_page_raises_an_error(harness: LedgerHarness) -> None:
    harness.redis.rpush("idem:{t}:k", "not a text")
    pages = [[NewJob(id=key, payload={}, fingerprint="f", key=key)] for key in ("j", "k", "l")]
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        list(submit_pages(harness.ledger, pages))
    assert harness.ledger.submit(pages[0][0]).verdict == "DUPLICATE"
