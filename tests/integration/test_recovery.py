"""Redis loses records under real workers: they find out, recover, and pay nothing twice.

All tests share one stand-in. Each has a server of its own, whose data it can copy or throw away.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.support.commands import CommandResult, run_reelqueue
from tests.support.processes import Process, Sandbox, Worker
from tests.support.stack import Stack
from tests.support.valkey import Valkey, valkey_in_memory
from tests.support.waiting import wait_until
from worker.faultpoints import VARIABLE
from worker.journal.journal import Journal
from worker.ledger.ledger import Ledger
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import State
from worker.ledger.model.submissions import NewJob

pytestmark = pytest.mark.integration

LEASE_SECONDS = 6
"""The watch before a recovery lasts as long where Redis was restarted."""


@dataclass
class Fleet:
    """Workers on one Redis, and what they have there."""

    name: str
    stack: Stack
    valkey: Valkey
    redis: Redis
    env: dict[str, str]
    workers: list[Process] = field(default_factory=list)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.redis, "rq", lease_seconds=LEASE_SECONDS)

    @property
    def journal(self) -> Journal:
        return Journal.open(self.env["REELQUEUE_JOURNAL_URL"], "rq")

    def start_worker(self, fault: str = "", **env: str) -> Process:
        """Start a worker, without waiting for it."""
        name = f"{self.name}{len(self.workers)}"
        settings = {**self.env, VARIABLE: fault, **env}
        worker = Worker(name, self.stack.folder / f"{name}.log", settings)
        self.workers.append(worker)
        return worker

    def stop(self) -> None:
        """Kill all workers."""
        for worker in self.workers:
            worker.stop()

    def submit(self, image: Path) -> str:
        """Submit a picture under the same id and key each time."""
        job_id = f"job-{self.name}-{image.stem}"
        payload = {"image": str(image), "prompt": "a 1-second slow push-in", "language": "en"}
        new = NewJob(id=job_id, payload=payload, fingerprint=image.stem, key=f"key of {job_id}")
        self.ledger.submit(new)
        return job_id

    def job(self, job_id: str) -> Job | None:
        return self.ledger.job(job_id)

    def wait(self, job_id: str, *states: State) -> Job:
        """Wait until a job is in one of these states."""

        def arrived() -> bool:
            job = self.job(job_id)
            return job is not None and job.state in states

        wait_until(arrived, f"{job_id} to be {states}", explain=self.diagnosis)
        job = self.job(job_id)
        assert job is not None
        return job

    def delivered(self, *job_ids: str) -> None:
        """Wait for the clips of jobs, each of which was paid for once."""
        for job_id in job_ids:
            job = self.wait(job_id, State.SUCCEEDED)
            clip = json.loads(str(job.fact("clip")))
            assert (self.stack.folder / "output" / clip["key"]).is_file()
        ledger = self.stack.sandbox.ledger()
        for job_id in job_ids:
            image = job_id.rpartition("-")[2]
            sessions = {
                each["session_id"] for each in ledger["uploads"] if image in str(each["name"])
            }
            paid = [each for each in ledger["messages"] if each["session_id"] in sessions]
            assert len(paid) == 1, f"{job_id}: {paid}"

    def why_not_pay(self) -> set[str]:
        """Why the live workers send no paid messages."""
        client: Any = self.redis
        names = client.zrangebyscore("workers:{rq}", self.ledger.now_ms(), "+inf")
        return set(client.hmget("worker_obstacles:{rq}", names)) if names else set()

    def stopped(self, text: str) -> None:
        """Wait until a worker says that it does not pay, and why."""
        wait_until(
            lambda: any(text in (why or "") for why in self.why_not_pay()),
            f"a worker not to pay: {text}",
            explain=self.diagnosis,
        )

    def pays(self) -> None:
        """Wait until all workers pay."""
        wait_until(lambda: self.why_not_pay() == {""}, "workers to pay", explain=self.diagnosis)

    def run(self, *words: str, **env: str) -> CommandResult:
        """Run a command with the fleet's settings."""
        return run_reelqueue(*words, env={**self.env, **env})

    def diagnosis(self) -> str:
        records = {
            key: self.redis.hgetall(key)
            for pattern in ("job:*", "meta:*", "worker_obstacles:*")
            for key in self.redis.scan_iter(pattern)
        }
        logs = (worker.text()[-5000:] for worker in self.workers)
        return "\n".join([json.dumps(records, indent=1), *logs])


@pytest.fixture(scope="module")
def stack(module_stack: Stack) -> Stack:
    return module_stack


@pytest.fixture
def fleets(stack: Stack, tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    """Start fleets, each with a server of its own and without workers."""
    stack.sandbox.clear_faults()
    with ExitStack() as exits:

        def start(name: str, copied_from: Path | None = None, **env: str) -> Fleet:
            valkey = exits.enter_context(valkey_in_memory(tmp_path / name, copied_from))
            redis = exits.enter_context(valkey.client())
            settings = {
                **stack.env,
                "REDIS_URL": valkey.url,
                "REELQUEUE_LEASE_SECONDS": str(LEASE_SECONDS),
                "REELQUEUE_JOURNAL_URL": (tmp_path / "journal").as_uri(),
                "REELQUEUE_SETTLE_CHECKS": "2",
                **env,
            }
            fleet = Fleet(name, stack, valkey, redis, settings)
            exits.callback(fleet.stop)
            return fleet

        yield start


def hold_up_exports(sandbox: Sandbox) -> None:
    """Let jobs that are paid for wait for their clips."""
    sandbox.inject_faults({"call": "export", "action": "refuse", "code": 500, "ratio": 1.0})


def test_after_a_flush_all_jobs_end_without_a_person_and_without_their_submission(
    stack: Stack, fleets: Callable[..., Fleet]
) -> None:
    """One job has ended, and one waits for its export.

    The worker that recovers is killed at the end of it, and the next one recovers again.
    """
    fleet = fleets("flush")
    victim = fleet.start_worker("set_identity:before=kill@1")
    images = [stack.image() for _ in range(3)]
    ended = fleet.submit(images[0])
    fleet.delivered(ended)
    hold_up_exports(stack.sandbox)
    waiting = fleet.submit(images[1])
    fleet.wait(waiting, State.RENDERING)
    fleet.redis.flushdb()
    stack.sandbox.clear_faults()
    wait_until(lambda: not victim.alive, "the worker to be killed", explain=fleet.diagnosis)
    assert fleet.wait(ended, State.SUCCEEDED).paid_messages == 1
    fleet.start_worker()
    fleet.delivered(waiting)
    assert [fleet.submit(image) for image in images][:2] == [ended, waiting]
    fleet.delivered(ended, waiting, fleet.submit(images[2]))
    fleet.pays()
    assert fleet.redis.hget("meta:{rq}", "epoch") == "3"


def test_after_the_restore_of_an_older_copy_all_jobs_end_without_a_person(
    stack: Stack, fleets: Callable[..., Fleet], tmp_path: Path
) -> None:
    """The copy has a job before its payment and one before its end, and lacks a third one."""
    fleet = fleets("restore")
    fleet.start_worker()
    hold_up_exports(stack.sandbox)
    ended = fleet.submit(stack.image())
    fleet.wait(ended, State.RENDERING)
    stack.sandbox.inject_faults({"call": "upload", "action": "refuse", "code": 500, "ratio": 1.0})
    unpaid = fleet.submit(stack.image())
    fleet.wait(unpaid, State.PREPARING)
    shutil.copytree(fleet.valkey.folder, tmp_path / "copy")
    stack.sandbox.clear_faults()
    fleet.delivered(ended)
    hold_up_exports(stack.sandbox)
    lost = fleet.submit(stack.image())
    for job_id in (unpaid, lost):
        fleet.wait(job_id, State.RENDERING, State.SUCCEEDED)
    fleet.valkey.stop()
    shutil.rmtree(fleet.valkey.folder)
    shutil.copytree(tmp_path / "copy", fleet.valkey.folder)
    fleet.valkey.start()
    stack.sandbox.clear_faults()
    fleet.delivered(ended, unpaid, lost)
    fleet.pays()


def test_a_clone_does_not_pay_until_a_person_decides_and_then_the_other_stops(
    stack: Stack, fleets: Callable[..., Fleet]
) -> None:
    production = fleets("production")
    production.start_worker()
    production.delivered(production.submit(stack.image()))
    clone = fleets("clone", production.valkey.folder)
    clone.start_worker()
    clone.stopped("this is a copy")
    waiting = clone.submit(stack.image())
    job = clone.wait(waiting, State.GENERATING)
    wait_until(
        lambda: "this is a copy" in str((clone.job(waiting) or job).fact("progress")),
        "the job to say what it waits for",
    )
    production.delivered(production.submit(stack.image()))
    assert clone.wait(waiting, State.GENERATING).call is None
    checks = {check["check"]: check for check in clone.run("doctor", "--json").records}
    assert not checks["ledger identity"]["ok"]
    assert "reelqueue recover" in checks["ledger identity"]["remedy"]
    # The other one is to stop: it does so while it is running.
    found = clone.run("recover", "--json")
    assert (found.code, found.err) == (0, "")
    assert found.records[0]["unreadable"] == 0
    clone.delivered(waiting)
    production.stopped("belongs to the records on another Redis")


def test_of_two_hosts_with_a_journal_each_one_pays_until_a_person_decides(
    stack: Stack, fleets: Callable[..., Fleet], tmp_path: Path
) -> None:
    fleet = fleets("hosts")
    other = {"REELQUEUE_JOURNAL_URL": (tmp_path / "other journal").as_uri()}
    first = fleet.start_worker()
    done = fleet.submit(stack.image())
    fleet.delivered(done)
    fleet.start_worker(**other)
    fleet.stopped("this is not the journal of these records")
    fleet.delivered(fleet.submit(stack.image()))
    first.kill()
    waiting = fleet.submit(stack.image())
    refused = fleet.run("recover", **other)
    assert (refused.code, refused.out) == (3, "")
    assert "--new-journal" in refused.err
    assert fleet.run("recover", "--new-journal", **other).code == 0
    fleet.delivered(waiting)
    # The new journal has what was paid for under the old one.
    fleet.redis.flushdb()
    fleet.delivered(done, waiting)


def test_a_ledger_without_ids_and_with_jobs_in_flight_is_taken_over(
    stack: Stack, fleets: Callable[..., Fleet], tmp_path: Path
) -> None:
    """Its paid messages have no attempt, and their calls no random part, as before the journal."""
    fleet = fleets("old")
    worker = fleet.start_worker()
    hold_up_exports(stack.sandbox)
    paid = fleet.submit(stack.image())
    fleet.wait(paid, State.RENDERING)
    worker.kill()
    unpaid = fleet.submit(stack.image())
    key = fleet.ledger.key("job", paid)
    call = str(fleet.redis.hget(key, "call:1"))
    fleet.redis.hset(key, mapping={"call:1": call.rpartition(":")[0], "state": "settling"})
    fleet.redis.hdel(key, "attempt:1", "session:1", "next_attempt", "draft", "render_id")
    fleet.redis.hincrby("counts:{rq}", "n:rendering", -1)
    fleet.redis.hincrby("counts:{rq}", "n:settling", 1)
    fleet.redis.hdel("meta:{rq}", "journal_id", "ledger_id", "epoch", "intents")
    stack.sandbox.clear_faults()
    fleet.env["REELQUEUE_JOURNAL_URL"] = (tmp_path / "first journal").as_uri()
    fleet.start_worker()
    fleet.delivered(paid, unpaid)
    assert [len(fleet.journal.attempts(job_id)) for job_id in (paid, unpaid)] == [0, 1]
    assert fleet.redis.hget("meta:{rq}", "journal_id") == fleet.journal.id()
