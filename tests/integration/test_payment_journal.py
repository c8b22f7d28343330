"""The payment journal with real workers: a clip is paid for once, also after kills and flushes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from config.settings import Settings, StorageSettings
from tasks.manifests.batch_submission import submit_batch
from tasks.producer import actions
from tasks.producer.follow_up import edits
from tasks.producer.producer import Producer
from tasks.schema.submission import Submission
from tests.support.ledger_access import row_ids
from tests.support.processes import Process
from tests.support.s3 import s3_server
from tests.support.stack import Stack
from tests.support.waiting import wait_until
from worker.faultpoints import VARIABLE
from worker.journal.entries import Mark
from worker.journal.journal import Attempt, Journal
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import Reason, State
from worker.ledger.model.submissions import NewJob

pytestmark = [pytest.mark.integration, pytest.mark.long]

SHORT = {"REELQUEUE_STREAM_TIMEOUT_SECONDS": "4", "REELQUEUE_SETTLE_CHECKS": "2"}
"""A short wait after an unknown outcome. Streams of the stand-in take half a second."""


@dataclass
class JournalHarness:
    """The servers of the module, and the workers of one test."""

    stack: Stack

    def worker(self, fault: str = "", **env: str) -> Process:
        """Start a worker, which may die at a fault point before it is registered."""
        start = self.stack.start_doomed_worker if fault else self.stack.start_worker
        return start(**{**SHORT, VARIABLE: fault, **env})

    @property
    def journal(self) -> Journal:
        """The journal of this test."""
        return Journal.open(self.stack.env["REELQUEUE_JOURNAL_URL"], "rq")

    @property
    def producer(self) -> Producer:
        """A producer on the same servers."""
        env = self.stack.env
        redis = Settings().redis.model_copy(update={"url": SecretStr(self.stack.valkey.url)})
        storage = StorageSettings(
            media_url=env["REELQUEUE_MEDIA_URL"],
            output_url=env["REELQUEUE_OUTPUT_URL"],
            journal_url=env["REELQUEUE_JOURNAL_URL"],
        )
        return Producer.open(Settings(redis=redis, storage=storage))

    def marks(self, job_id: str) -> list[Mark | None]:
        """Return why each attempt of a job was not charged, None for one that was."""
        return [attempt.mark for attempt in self.journal.attempts(job_id)]

    def last_attempt(self, job_id: str) -> Attempt:
        return self.journal.attempts(job_id)[-1]

    def charged(self, job: Job) -> int:
        """Return how many messages were charged for the job's picture, in all sessions."""
        ledger = self.stack.sandbox.ledger()
        name = str(job.payload["image"]).rpartition("/")[2].partition(".")[0]
        sessions = {
            upload["session_id"] for upload in ledger["uploads"] if name in str(upload["name"])
        }
        return sum(
            message["session_id"] in sessions and bool(message["charged"])
            for message in ledger["messages"]
        )

    def wait_for_clip(self, job_id: str) -> Job:
        """Wait for the job's clip, and check that it was paid for once."""
        job = self.stack.wait_for(job_id, State.SUCCEEDED, State.HELD, State.FAILED)
        assert job.state is State.SUCCEEDED, self.stack.diagnosis(job_id)
        clip = json.loads(str(job.fact("clip")))
        assert (self.stack.folder / "output" / clip["key"]).is_file()
        assert self.charged(job) == 1
        return job

    def wait_for_death(self, victim: Process) -> None:
        """Wait until a worker has died at its fault point, and end its leases."""
        wait_until(lambda: not victim.alive, "the worker to die at its fault point")
        self.stack.age_by_a_lease()


@pytest.fixture
def harness(module_stack: Stack) -> Iterator[JournalHarness]:
    """The servers with a new ledger, a new journal, and the workers of this test."""
    servers = module_stack
    servers.redis.flushdb()
    place = servers.folder / "journals" / str(len(servers.workers))
    servers.env["REELQUEUE_JOURNAL_URL"] = place.as_uri()
    servers.sandbox.clear_faults()
    before = len(servers.workers)
    yield JournalHarness(servers)
    for worker in servers.workers[before:]:
        worker.stop()


def wait_until_frozen(worker: Process) -> None:
    def is_stopped() -> bool:
        stat = Path(f"/proc/{worker.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"

    wait_until(is_stopped, "the worker to freeze at its fault point")


def test_a_job_without_errors_takes_two_writes_and_one_read(harness: JournalHarness) -> None:
    with s3_server() as s3:
        address = f"s3://{s3.bucket()}/journal"
        harness.worker(REELQUEUE_JOURNAL_URL=address, **s3.env)
        job = harness.stack.wait_for(harness.stack.submit(harness.stack.image()), State.SUCCEEDED)
        found = [(how, path.rpartition("/")[2]) for how, path in s3.requests(f"/{job.id}/")]
    assert found == [("GET", "1"), ("PUT", "1"), ("PUT", "end")]


def test_the_journal_has_the_session_and_the_end_of_a_job(harness: JournalHarness) -> None:
    harness.worker()
    job = harness.wait_for_clip(harness.stack.submit(harness.stack.image()))
    entry, ended = harness.last_attempt(job.id).entry, harness.journal.ended(job.id, 1)
    assert entry is not None
    assert ended is not None
    assert (entry.call, entry.session_id) == (job.turns[0].call, job.fact("session_id"))
    assert entry.fingerprint == job.fact("fingerprint")
    assert (ended.state, ended.facts["clip"]) == (State.SUCCEEDED, job.fact("clip"))


def test_after_a_flush_jobs_with_the_same_keys_succeed_without_paying(
    harness: JournalHarness,
) -> None:
    """At the flush, two jobs have succeeded and two wait for their export."""
    stack, images = harness.stack, [harness.stack.image() for _ in range(4)]
    worker = harness.worker()
    ids = [stack.submit(image) for image in images[:2]]
    for job_id in ids:
        harness.wait_for_clip(job_id)
    renders = len(stack.sandbox.ledger()["renders"])
    stack.sandbox.inject_faults({"call": "export", "action": "refuse", "code": 500, "ratio": 1.0})
    ids += [stack.submit(image) for image in images[2:]]
    for job_id in ids[2:]:
        stack.wait_for(job_id, State.RENDERING)
    worker.kill()
    stack.redis.flushdb()
    stack.sandbox.clear_faults()
    harness.worker()
    assert [stack.submit(image) for image in images] == ids
    for job_id in ids:
        harness.wait_for_clip(job_id)
    assert len(stack.sandbox.ledger()["renders"]) == renders + 2, "two clips exist already"
    other = NewJob(
        id=ids[0], payload={"image": str(images[0]), "prompt": "another"}, fingerprint="other"
    )
    stack.redis.flushdb()
    stack.ledger.submit(other)
    refused = stack.wait_for(ids[0], State.FAILED, State.SUCCEEDED, State.HELD)
    assert (refused.reason, harness.charged(refused)) == (Reason.KEY_CONFLICT, 1)


@pytest.mark.parametrize(
    "fault",
    [
        "begin_paid:after=kill@1",
        "store.rename:after=kill@1",
        "journal.end:before=kill@1",
        "journal.end:after=kill@1",
    ],
)
def test_a_job_continues_after_a_kill_and_is_paid_for_once(
    harness: JournalHarness, fault: str
) -> None:
    victim = harness.worker(fault)
    job_id = harness.stack.submit(harness.stack.image())
    harness.wait_for_death(victim)
    harness.worker()
    harness.wait_for_clip(job_id)
    is_closed = fault.startswith("begin_paid")
    assert harness.marks(job_id) == ([Mark.NEVER_SENT, None] if is_closed else [None])


@pytest.mark.parametrize("passage", ["before=kill@1", "after=kill@1", "after=kill@2"])
def test_a_job_continues_after_a_kill_at_the_first_use_of_a_journal(
    harness: JournalHarness, passage: str
) -> None:
    """At the second passage the mirror is there, and its ids are not in the ledger yet."""
    harness.wait_for_death(harness.worker(f"journal.identity:{passage}"))
    job_id = harness.stack.submit(harness.stack.image())
    harness.worker()
    harness.wait_for_clip(job_id)
    assert len(harness.journal.attempts(job_id)) == 1


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_kill_at_the_pointer_to_a_further_message_holds_the_job(
    harness: JournalHarness, side: str
) -> None:
    """The pointer is written after the entry, so the message may have been sent."""
    first = harness.worker()
    job_id = harness.stack.submit(harness.stack.image())
    harness.wait_for_clip(job_id)
    first.stop()
    victim = harness.worker(f"journal.next:{side}=kill@1")
    edit = say(harness.producer, job_id, "make it 2 seconds, pan left", key=job_id).job_id
    harness.wait_for_death(victim)
    harness.worker()
    assert harness.stack.wait_for(edit, State.HELD).reason is Reason.OUTCOME_UNKNOWN
    actions.release(harness.producer, edit, mode="pay_again", who="the test")
    job = harness.stack.wait_for(edit, State.SUCCEEDED)
    assert len(harness.stack.messages_of(job)) == 2


def test_a_kill_between_entry_and_message_holds_the_job(harness: JournalHarness) -> None:
    victim = harness.worker("journal.create:after=kill@1")
    job_id = harness.stack.submit(harness.stack.image())
    harness.wait_for_death(victim)
    harness.worker()
    assert harness.stack.wait_for(job_id, State.HELD).reason is Reason.OUTCOME_UNKNOWN
    actions.release(harness.producer, job_id, mode="pay_again", who="the test")
    harness.wait_for_clip(job_id)
    assert harness.marks(job_id) == [None, None]


@pytest.mark.parametrize(
    ("fault", "marks"),
    [
        ("journal.mark:before=kill@1", [None, None]),
        ("journal.mark:after=kill@1", [Mark.NOT_CHARGED, None]),
    ],
)
def test_a_kill_around_the_mark_of_a_refused_message(
    harness: JournalHarness, fault: str, marks: list[Mark | None]
) -> None:
    """Killed before the mark, the job is held; after it, the ledger reads the mark."""
    victim = harness.worker(fault)
    harness.stack.sandbox.inject_faults(
        {"call": "message", "action": "refuse", "code": 429, "times": 1}
    )
    job_id = harness.stack.submit(harness.stack.image())
    harness.wait_for_death(victim)
    harness.worker()
    if marks[0] is None:
        harness.stack.wait_for(job_id, State.HELD)
        actions.release(harness.producer, job_id, mode="pay_again", who="the test")
    harness.wait_for_clip(job_id)
    assert harness.marks(job_id) == marks


def test_the_message_of_an_entry_whose_reply_was_lost_is_sent(harness: JournalHarness) -> None:
    worker = harness.worker("journal.create:after=full@1")
    job_id = harness.stack.submit(harness.stack.image())
    harness.wait_for_clip(job_id)
    assert harness.marks(job_id) == [None]
    assert "payment journal failed" in worker.text()


@pytest.mark.parametrize("code", [429, 1002, 4001])
def test_a_refused_message_is_marked_as_not_charged(harness: JournalHarness, code: int) -> None:
    harness.worker()
    harness.stack.sandbox.inject_faults(
        {"call": "message", "action": "refuse", "code": code, "times": 1}
    )
    job_id = harness.stack.submit(harness.stack.image())
    job = harness.stack.wait_for(job_id, State.SUCCEEDED, State.FAILED, State.HELD)
    assert harness.marks(job_id)[0] is Mark.NOT_CHARGED
    assert (job.state is State.SUCCEEDED) == (harness.marks(job_id)[1:] == [None])
    assert harness.charged(job) == int(job.state is State.SUCCEEDED)


@pytest.mark.parametrize("code", [1001, 2001])
def test_a_refusal_that_holds_the_job_is_marked_and_the_next_attempt_is_free(
    harness: JournalHarness, code: int
) -> None:
    harness.worker(REELQUEUE_BALANCE_SECONDS="100000")
    harness.stack.sandbox.inject_faults(
        {"call": "message", "action": "refuse", "code": code, "times": 1}
    )
    job_id = harness.stack.submit(harness.stack.image())
    harness.stack.wait_for(job_id, State.HELD)
    assert harness.marks(job_id) == [Mark.NOT_CHARGED]
    for account in harness.stack.redis.scan_iter("account:{rq}:*"):
        harness.stack.redis.hdel(account, "refused_at_base", "distrust")
    actions.release(harness.producer, job_id)
    harness.wait_for_clip(job_id)
    assert harness.marks(job_id) == [Mark.NOT_CHARGED, None]


@pytest.mark.parametrize("point", ["journal.create:before", "api.message:before"])
def test_a_frozen_sender_never_sends_late(harness: JournalHarness, point: str) -> None:
    """Frozen before its entry, it finds the attempt closed; after it, it marks it as not sent.

    In both cases the job continues without a decision.
    """
    sleeper = harness.worker(f"{point}=freeze@1")
    job_id = harness.stack.submit(harness.stack.image())
    wait_until_frozen(sleeper)
    harness.worker()
    if point.startswith("api"):
        assert harness.stack.wait_for(job_id, State.HELD).reason is Reason.OUTCOME_UNKNOWN
        sleeper.resume()
        harness.stack.wait_for(job_id, State.SUCCEEDED)
        harness.wait_for_clip(job_id)
    else:
        harness.wait_for_clip(job_id)
        sleeper.resume()
        wait_until(lambda: "lease lost" in sleeper.text(), "the sleeper to lose its lease")
    first = Mark.NOT_SENT if point.startswith("api") else Mark.NEVER_SENT
    assert harness.marks(job_id) == [first, None]


@pytest.mark.parametrize("decision", ["pay_again", "cancel"])
def test_a_decision_while_the_sender_is_frozen(harness: JournalHarness, decision: str) -> None:
    sleeper = harness.worker("api.message:before=freeze@1")
    job_id = harness.stack.submit(harness.stack.image())
    wait_until_frozen(sleeper)
    harness.worker()
    harness.stack.wait_for(job_id, State.HELD)
    if decision == "cancel":
        actions.cancel(harness.producer, job_id, confirmed=True)
        assert harness.stack.job(job_id).state is State.CANCELLED
    else:
        actions.release(harness.producer, job_id, mode="pay_again", who="the test")
        harness.wait_for_clip(job_id)
    sleeper.resume()
    wait_until(lambda: harness.marks(job_id)[0] is Mark.NOT_SENT, "the late sender's mark")
    job = harness.stack.job(job_id)
    assert harness.charged(job) == int(decision == "pay_again")


def test_a_journal_that_cannot_be_written_stops_paying_until_it_can(
    harness: JournalHarness,
) -> None:
    folder = harness.stack.folder / "blocked"
    folder.write_text("a file where the journal's folder should be")
    harness.worker(REELQUEUE_JOURNAL_URL=folder.as_uri())
    job_id = harness.stack.submit(harness.stack.image())
    wait_until(
        lambda: "payment journal" in (harness.stack.job(job_id).fact("trouble") or ""),
        "the job to name what it waits for",
    )
    assert harness.stack.job(job_id).call is None
    folder.unlink()
    harness.wait_for_clip(job_id)


@pytest.mark.parametrize("ends_are_known", [True, False])
def test_two_messages_in_one_session_survive_a_flush(
    harness: JournalHarness, ends_are_known: bool
) -> None:
    """Without its end in the journal, the first job uses the draft that the second one has read."""
    stack, image = harness.stack, harness.stack.image()
    harness.worker()
    first = stack.wait_for(stack.submit(image), State.SUCCEEDED)
    edit = "make it 2 seconds, pan left"
    second = stack.wait_for(
        say(harness.producer, first.id, edit, key=first.id).job_id, State.SUCCEEDED
    )
    assert second.fact("session_id") == first.fact("session_id")
    if not ends_are_known:
        for job in (first, second):
            harness.journal.store.delete(f"rq/jobs/{harness.journal.place_of(job.id)}/end")
    stack.redis.flushdb()
    stack.submit(image)
    again = stack.wait_for(first.id, State.SUCCEEDED, State.HELD, State.FAILED)
    assert (again.message, again.fact("draft")) == ("", first.fact("draft"))
    assert say(harness.producer, first.id, edit, key=first.id).job_id == second.id
    edited = stack.wait_for(second.id, State.SUCCEEDED, State.HELD, State.FAILED)
    assert (edited.message, edited.fact("draft")) == ("", second.fact("draft"))
    assert len(stack.messages_of(first)) == 2


@pytest.mark.parametrize("also_after_the_second", [False, True])
def test_a_flush_between_two_messages_in_one_session(
    harness: JournalHarness, also_after_the_second: bool
) -> None:
    stack, image = harness.stack, harness.stack.image()
    harness.worker()
    first = stack.wait_for(stack.submit(image), State.SUCCEEDED)
    stack.redis.flushdb()
    stack.submit(image)
    stack.wait_for(first.id, State.SUCCEEDED)
    edit = "make it 2 seconds, pan left"
    second = stack.wait_for(
        say(harness.producer, first.id, edit, key=first.id).job_id, State.SUCCEEDED
    )
    if also_after_the_second:
        stack.redis.flushdb()
        stack.submit(image)
        stack.wait_for(first.id, State.SUCCEEDED)
        assert say(harness.producer, first.id, edit, key=first.id).job_id == second.id
    edited = stack.wait_for(second.id, State.SUCCEEDED)
    assert (edited.fact("draft"), edited.fact("session_id")) == (
        second.fact("draft"),
        first.fact("session_id"),
    )
    assert len(stack.messages_of(first)) == 2


def test_a_shared_session_survives_a_flush_after_each_of_its_messages(
    harness: JournalHarness,
) -> None:
    stack = harness.stack
    rows = [{"image": str(stack.image()), "prompt": "a 1-second push-in"} for _ in range(2)]
    harness.worker()

    def submit(pilot: int | None = None) -> list[Job]:
        found = submit_batch(harness.producer, rows, name="shared", session="shared", pilot=pilot)
        ids = row_ids(stack.ledger, found.batch_id)
        return [stack.wait_for(job_id, State.SUCCEEDED) for job_id in ids[: pilot or len(rows)]]

    submit(pilot=1)
    for _ in range(2):
        stack.redis.flushdb()
        first, second = submit()
        assert len(stack.messages_of(first)) == 2
        assert first.fact("session_id") == second.fact("session_id")
        assert first.fact("draft") != second.fact("draft")


def say(producer: Producer, job_id: str, text: str, *, key: str) -> Submission:
    """Submit a follow-up edit."""
    answer = edits.say(producer, job_id, text, key=f"edit of {key}")
    assert isinstance(answer, Submission)
    return answer
