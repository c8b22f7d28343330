"""The payment journal under real workers: what is paid is paid once, whatever is lost."""

import json
from pathlib import Path

import pytest

from tests.support.processes import Process
from tests.support.stack import Stack
from tests.support.waiting import wait_until
from worker.faultpoints import VARIABLE
from worker.journal.journal import Attempt, Journal
from worker.ledger.model.states import Reason, State
from worker.ledger.model.submissions import NewJob

pytestmark = pytest.mark.integration


@pytest.fixture
def open_stack(stack: Stack) -> Stack:
    stack.start_sandbox()
    return stack


def journal_of(stack: Stack) -> Journal:
    """The journal of the stack, where it is by default."""
    return Journal.open((stack.folder / "media" / ".journal").as_uri(), "rq")


def attempts(stack: Stack, job_id: str) -> list[Attempt]:
    return journal_of(stack).attempts(job_id)


def worker_with(stack: Stack, fault: str, **env: str) -> Process:
    """A worker that has a fault point armed."""
    return stack.start_worker(**{VARIABLE: fault, **env})


def charged(stack: Stack) -> int:
    return sum(bool(message["charged"]) for message in stack.sandbox.ledger()["messages"])


def sent(stack: Stack) -> int:
    return len(stack.sandbox.ledger()["messages"])


def died(worker: Process) -> None:
    wait_until(lambda: not worker.alive, "the worker to die at its fault point", 60)


def is_stopped(worker: Process) -> bool:
    """Whether the process is stopped by SIGSTOP."""
    stat = Path(f"/proc/{worker.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"


def frozen(worker: Process) -> None:
    wait_until(lambda: is_stopped(worker), "the worker to freeze at its fault point", 60)


def files_of(stack: Stack, job_id: str) -> list[str]:
    """The names of what the journal has of a job."""
    journal = journal_of(stack)
    folder = f"rq/jobs/{journal.place_of(job_id)}"
    return list(journal.store.names(folder))


def test_a_job_without_trouble_writes_its_attempt_and_its_end(open_stack: Stack) -> None:
    stack = open_stack
    stack.start_worker()
    job = stack.wait_for(stack.submit(stack.image()), State.SUCCEEDED)
    assert files_of(stack, job.id) == ["1", "end"]
    (attempt,) = attempts(stack, job.id)
    assert attempt.entry is not None
    assert (attempt.mark, attempt.entry.call) == (None, job.turns[0].call)
    assert attempt.entry.session_id == job.fact("session_id")
    assert attempt.entry.fingerprint == job.fact("fingerprint")
    ended = journal_of(stack).ended(job.id)
    assert ended is not None
    assert (ended.state, ended.facts["clip"]) == (State.SUCCEEDED, job.fact("clip"))


@pytest.mark.parametrize("flush_at", [State.SETTLING, State.SUCCEEDED])
def test_after_a_flush_the_same_keys_pay_nothing_and_succeed(
    open_stack: Stack, flush_at: State
) -> None:
    stack = open_stack
    worker = stack.start_worker()
    images = [stack.image() for _ in range(4)]
    fault = {"call": "export", "action": "refuse", "code": 500}
    if flush_at is not State.SUCCEEDED:
        stack.sandbox.inject_faults(fault)
    ids = [stack.submit(image) for image in images]
    wait_until(lambda: charged(stack) == len(images), "all to be paid")
    if flush_at is State.SUCCEEDED:
        for job_id in ids:
            stack.wait_for(job_id, State.SUCCEEDED)
    worker.kill()
    stack.redis.flushdb()
    stack.sandbox.clear_faults()
    stack.start_worker()
    assert [stack.submit(image) for image in images] == ids
    jobs = [stack.wait_for(job_id, State.SUCCEEDED) for job_id in ids]
    assert (charged(stack), sent(stack)) == (len(images), len(images))
    for job in jobs:
        clip = json.loads(str(job.fact("clip")))
        assert (stack.folder / "output" / clip["key"]).is_file()
    if flush_at is State.SUCCEEDED:
        assert len(stack.sandbox.ledger()["renders"]) == len(images), "the clips are there already"


def test_another_payload_under_a_paid_key_is_a_conflict(open_stack: Stack) -> None:
    stack = open_stack
    stack.start_worker()
    image = stack.image()
    job_id = stack.submit(image)
    stack.wait_for(job_id, State.SUCCEEDED)
    stack.redis.flushdb()
    other = stack.image(image.name, color=200)
    stack.ledger.submit(
        NewJob(
            id=job_id,
            payload={"image": str(other), "prompt": "other"},
            fingerprint="another payload",
        )
    )
    job = stack.wait_for(job_id, State.FAILED, State.SUCCEEDED)
    assert (job.reason, charged(stack)) == (Reason.KEY_CONFLICT, 1)


KILLS = {
    "begin_paid:after=kill@1": 1,
    "journal.create:after=kill@1": 0,
    "api.message:before=kill@1": 0,
    "store.rename:after=kill@1": 1,
    "journal.end:before=kill@1": 1,
    "journal.end:after=kill@1": 1,
}
"""Fault points, and whether the job ends without a person."""


@pytest.mark.parametrize(("fault", "by_itself"), KILLS.items())
def test_a_kill_pays_once_at_most(open_stack: Stack, fault: str, by_itself: int) -> None:
    stack = open_stack
    died_at = worker_with(stack, fault)
    job_id = stack.submit(stack.image())
    died(died_at)
    stack.start_worker(REELQUEUE_STREAM_TIMEOUT_SECONDS="2")
    job = stack.wait_for(job_id, State.SUCCEEDED, State.HELD)
    if not by_itself:
        assert (job.reason, charged(stack)) == (Reason.OUTCOME_UNKNOWN, 0)
        stack.ledger.release(job_id, mode="pay_again", who="the test")
        job = stack.wait_for(job_id, State.SUCCEEDED)
    assert (job.state, charged(stack), sent(stack)) == (State.SUCCEEDED, 1, 1)
