"""Many jobs at the same time, with faults, and with workers that are killed or terminated."""

import re
from itertools import pairwise

import pytest

from tests.support.stack import Stack
from tests.support.waiting import wait_until
from worker.ledger.model.states import Reason, State
from worker.runtime.worker_registry import STREAM_SHARE

pytestmark = pytest.mark.integration

JOBS = 200


def check_invariants(stack: Stack) -> None:
    """Check that no input was paid twice, every render was downloaded, and all queues are empty."""
    twice = {sha: n for sha, n in stack.messages_by_image().items() if n > 1}
    assert twice == {}
    ledger = stack.sandbox.ledger()
    assert not any(message["overlapping"] for message in ledger["messages"])
    left = [r["id"] for r in ledger["renders"] if r["status"] == "completed" and not r["downloads"]]
    assert left == []
    assert stack.redis.zcard("agenda:{rq}") == 0
    assert stack.redis.zcard("flows:{rq}") == 0


@pytest.mark.long
def test_two_hundred_jobs_survive_a_killed_worker(stack: Stack) -> None:
    """With 30 % silent edits, 10 % broken streams and a kill, each job succeeds or is held."""
    stack.start_sandbox("--silent-ratio", "0.3", "--break-ratio", "0.1", "--seed", "7")
    stack.allow_in_flight(20)
    for _ in range(2):
        stack.start_worker()
    job_ids = [stack.submit(stack.image(f"p{n}.png", n)) for n in range(JOBS)]
    wait_until(
        lambda: stack.ledger.counts()[0].get(State.SUCCEEDED, 0) > JOBS // 8, "some to succeed"
    )
    stack.workers[0].kill()
    counts = stack.wait_until_idle()

    assert sum(counts.values()) == JOBS
    assert set(counts) <= {State.SUCCEEDED, State.HELD}
    held = [job for job in stack.ledger.jobs(job_ids) if job.state is State.HELD]
    assert {job.reason for job in held} <= {Reason.OUTCOME_UNKNOWN}
    assert all(job.message and job.remedy for job in held)
    assert stack.workers[1].alive
    check_invariants(stack)


def test_a_second_worker_shares_the_work(stack: Stack) -> None:
    stack.start_sandbox()
    stack.allow_in_flight(20)
    for _ in range(2):
        stack.start_worker("-c", "10")
    wait_until(lambda: all(worker.is_ready for worker in stack.workers), "both to take jobs")
    for n in range(40):
        stack.submit(stack.image(f"p{n}.png", n))
    assert stack.wait_until_idle() == {State.SUCCEEDED: 40}
    done = [worker.text().count("succeeded") for worker in stack.workers]
    assert min(done) > 0


@pytest.mark.long
def test_polls_stay_on_time_while_every_stream_slot_is_taken(stack: Stack) -> None:
    """No poll waits for the slot of a stream, however many streams run and wait."""
    # A stream is much longer than a busy machine delays a poll.
    interval, streams, jobs, slots_given = 4.0, 18.0, 16, 10
    stack.start_sandbox("--stream-seconds", str(streams), "--render-seconds", "14")
    stack.allow_in_flight(20)
    stack.start_worker(
        *("-c", str(slots_given)),
        REELQUEUE_TICK_SECONDS="0.5",
        REELQUEUE_RENDER_POLL_SECONDS=str(interval),
        REELQUEUE_STREAM_TIMEOUT_SECONDS="120",
    )
    for n in range(jobs):
        stack.submit(stack.image(f"p{n}.png", n))
    for_streams = int(slots_given * STREAM_SHARE)
    wait_until(lambda: stack.redis.zcard(slots(stack)) == for_streams, "the stream slots to fill")
    assert stack.wait_until_idle() == {State.SUCCEEDED: jobs}
    gaps = [
        later - earlier
        for render in stack.sandbox.ledger()["renders"]
        for earlier, later in pairwise(times(render["polls"]))
    ]
    assert len(gaps) >= jobs
    assert min(gaps) >= interval
    assert max(gaps) < streams


def test_a_terminated_worker_reads_its_streams_to_the_end_and_takes_no_more_jobs(
    stack: Stack,
) -> None:
    stack.start_sandbox("--stream-seconds", "2")
    worker = stack.start_worker("-c", "10")
    for n in range(20):
        stack.submit(stack.image(f"p{n}.png", n))
    wait_until(lambda: stack.redis.zcard(slots(stack)) >= 3, "some streams to run")
    worker.terminate()
    assert worker.wait() == 0
    cancelled = [m for m in stack.sandbox.ledger()["messages"] if m["outcome"] == "cancelled"]
    assert cancelled == [], "a paid stream is read to its end"
    stack.start_worker("-c", "10")
    assert stack.wait_until_idle() == {State.SUCCEEDED: 20}
    check_invariants(stack)


def slots(stack: Stack) -> str:
    """Return the key of the messages in flight of the only account."""
    return next(iter(stack.redis.scan_iter("slots:{rq}:*")), "none")


def times(found: object) -> list[float]:
    assert isinstance(found, list)
    return found


def test_a_rolling_restart_of_all_workers_loses_no_lease(stack: Stack) -> None:
    """Each worker is terminated under load after its successor started, and logs its deadline."""
    stack.start_sandbox("--stream-seconds", "1-2")
    # Longer than a busy machine may hold up a heartbeat.
    lease = {"REELQUEUE_LEASE_SECONDS": "30"}
    old = [stack.start_worker("-c", "12", **lease) for _ in range(2)]
    job_ids = [stack.submit(stack.image(f"p{n}.png", n)) for n in range(30)]
    wait_until(lambda: stack.redis.zcard(slots(stack)) >= 3, "some streams to run")
    for worker in old:
        stack.start_worker("-c", "12", **lease)
        worker.terminate()
        assert worker.wait() == 0
        assert re.search(r"draining.*max_seconds=\d", worker.text())
    assert stack.wait_until_idle() == {State.SUCCEEDED: 30}
    taken_over = [
        job.id
        for job in stack.ledger.jobs(job_ids)
        if any(name.startswith("late:") for name in job.facts)
    ]
    assert taken_over == [], "no lease expired"
    check_invariants(stack)
