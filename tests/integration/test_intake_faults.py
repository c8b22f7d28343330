"""Submissions by message under faults: each becomes exactly one job."""

import json
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from redis import Redis

from tests.support.celery_apps import third_party
from tests.support.celery_messages import mutated_submission, raw_message
from tests.support.commands import CommandResult, run_reelqueue
from tests.support.processes import Process, Worker
from tests.support.stack import Stack
from tests.support.valkey import Valkey
from tests.support.waiting import wait_until
from worker.intake.set_aside import MAX_KEPT_BYTES
from worker.intake.submission_queue import ALIVE_SECONDS

pytestmark = pytest.mark.integration

KILLS = 3
BETWEEN_KILLS = 100
"""Submissions before each kill, of which the worker is to write some."""
MUTATIONS = 2000
PATIENCE = 180
OUTAGE = "Redis does not answer"


@pytest.fixture(scope="module")
def shared_stack(module_stack: Stack) -> Stack:
    """One Redis and one stand-in for the whole module. Each test starts the workers it needs."""
    module_stack.env |= {"REELQUEUE_BALANCE_SECONDS": "100000", "REELQUEUE_CONCURRENCY": "2"}
    return module_stack


@pytest.fixture
def fresh(shared_stack: Stack) -> Iterator[Stack]:
    """The shared stack without jobs, messages and workers of an earlier test."""
    shared_stack.redis.flushall()
    # Else the workers recover from it what earlier tests have paid for.
    shutil.rmtree(shared_stack.folder / "media" / ".journal", ignore_errors=True)
    yield shared_stack
    for worker in shared_stack.workers:
        worker.stop()


@pytest.fixture
def sender(fresh: Stack) -> Iterator[Celery]:
    """A Celery app that has nothing of this project."""
    with third_party(fresh.valkey.url) as app:
        yield app


def wait_for_outage(worker: Process) -> None:
    """Wait until a worker has logged that Redis is away."""
    wait_until(lambda: OUTAGE in worker.text(), "an outage", PATIENCE, worker.text)


def submit(app: Celery, path: Path, queue: str = "reelqueue", **options: Any) -> Any:
    """Send a submission without a key."""
    payload = {"image": str(path), "prompt": "a 1-second pan left"}
    return app.send_task("tasks.submit", queue=queue, args=[payload], **options)


def jobs(stack: Stack, namespace: str = "rq") -> int:
    """Return the number of jobs."""
    return int(stack.redis.zcard(f"jobs:{{{namespace}}}"))


def wait_until_jobs(stack: Stack, number: int) -> None:
    """Wait until there are at least this many jobs."""
    wait_until(lambda: jobs(stack) >= number, f"{number} jobs", PATIENCE)


def waiting(client: Redis, queue: str = "reelqueue") -> int:
    """Return the number of messages in a queue."""
    return int(client.llen(queue))


MALFORMED = {
    "a payload as another service would push it": b'{"image": "SECRET", "key": "cat-1"}',
    "text": b"SECRET",
    "a list": b"[1, 2]",
    "a number": b"5",
    "nothing": b"",
    "null": b"null",
    "bytes that are not UTF-8": b"\xff\xfe\x00",
    "no task and no properties": b'{"body": "e30=", "headers": {}, "content-type": "a/b"}',
    "a body that is not base64": raw_message().replace(b'"body": "', b'"body": "%%%'),
    "pickle": raw_message(b"cos\nsystem\n(S'true'\ntR.", "application/x-python-serialize"),
    "YAML": raw_message(b"a: 1", "application/x-yaml"),
    "a broken body": raw_message(b"[[{"),
    "no headers": raw_message(headers=[]),
    "headers null": raw_message().replace(b'"headers": {', b'"headers": null, "x": {'),
    "a body that is a number": raw_message(b"5"),
    "a body that is null": raw_message(b"null"),
    "arguments that are not a list": raw_message(b'[{"a":1},{},{}]'),
    "an eta that is not a date": raw_message(headers={"eta": "tomorrow"}),
    "an expiry that is not a date": raw_message(headers={"expires": "soon"}),
    "an id that is null": raw_message(headers={"id": None}),
    "an id with a line break": raw_message(headers={"id": "a\nb"}),
    "an unknown compression": raw_message(headers={"compression": "application/x-brotli"}),
    "a compression that was not used": raw_message(headers={"compression": "application/x-gzip"}),
    "malformed callbacks": raw_message(b'[[{}], {}, {"callbacks": [5]}]'),
}


def test_no_submission_is_lost_while_workers_are_killed(fresh: Stack, sender: Celery) -> None:
    image = fresh.image()
    results: list[Any] = []
    killed_in_time = 0
    while killed_in_time < KILLS:
        written = jobs(fresh)
        results += [submit(sender, image) for _ in range(BETWEEN_KILLS)]
        worker = fresh.start_worker()
        wait_until_jobs(fresh, written + BETWEEN_KILLS // 5)
        worker.kill()
        killed_in_time += jobs(fresh) < len(results)
    fresh.start_worker()
    answers = [result.get(timeout=PATIENCE) for result in results]
    assert len({answer["job_id"] for answer in answers}) == len(results)
    assert jobs(fresh) == len(results)
    assert {result.state for result in results} == {"SUCCESS"}


def test_a_message_that_is_delivered_twice_becomes_one_job(fresh: Stack, sender: Celery) -> None:
    image, task_id = fresh.image(), str(uuid4())
    paid_before = fresh.messages_by_image()
    submit(sender, image, task_id=task_id)
    submit(sender, image, task_id=task_id)
    fresh.start_worker()
    wait_until_jobs(fresh, 1)
    wait_until(lambda: waiting(fresh.redis) == 0, "both messages to be taken")
    fresh.wait_until_idle()
    assert jobs(fresh) == 1
    paid = fresh.messages_by_image()
    assert [paid[content] for content in paid.keys() - paid_before.keys()] == [1]


def test_a_live_worker_finds_what_comes_back_into_its_list(fresh: Stack) -> None:
    """As when an older copy of the data is restored, or the reply to taking it was lost."""
    fresh.start_worker()
    (owner,) = wait_until(lambda: fresh.redis.zrange("intake.workers:{rq}", 0, -1), "it to live")
    payload = {"image": str(fresh.image()), "prompt": "a 1-second pan left"}
    taken = f"intake.taken:{{rq}}:{owner!s}"
    fresh.redis.lpush(taken, raw_message(json.dumps([[payload], {}, {}]).encode()))
    wait_until_jobs(fresh, 1)
    wait_until(lambda: not fresh.redis.exists(taken), "the message to be acknowledged")


def test_nothing_is_taken_while_the_records_are_away(
    fresh: Stack, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    broker = Valkey(tmp_path / "broker").start()
    request.addfinalizer(broker.stop)
    worker = fresh.start_worker(BROKER_URL=broker.url)
    image = fresh.image()
    with third_party(broker.url) as app, Redis.from_url(broker.url) as client:
        fresh.valkey.stop()
        for _ in range(20):
            submit(app, image, ignore_result=True)
        wait_for_outage(worker)
        wait_until(lambda: waiting(client) == 20, "nothing to be taken", PATIENCE)
        assert worker.alive
        fresh.valkey.start()
        wait_until_jobs(fresh, 20)
        assert waiting(client) == 0


def test_two_namespaces_on_one_redis_have_their_own_queues(fresh: Stack, sender: Celery) -> None:
    fresh.start_worker()
    other = {"REELQUEUE_NAMESPACE": "staging"}
    staging = Worker("ws", fresh.folder / "staging.log", {**fresh.env, **other})
    fresh.workers.append(staging)
    image = fresh.image()
    ours = [submit(sender, image) for _ in range(5)]
    theirs = [submit(sender, image, "reelqueue.staging") for _ in range(3)]
    for result in ours + theirs:
        assert not result.get(timeout=PATIENCE)["duplicate"]
    assert (jobs(fresh), jobs(fresh, "staging")) == (5, 3)


def test_a_worker_does_not_start_on_the_queue_of_another_namespace(fresh: Stack) -> None:
    fresh.redis.set("reelqueue.owner:shared", "rq")
    env = {"REELQUEUE_NAMESPACE": "staging", "REELQUEUE_QUEUE": "shared"}
    worker = Worker("wq", fresh.folder / "owned.log", {**fresh.env, **env})
    fresh.workers.append(worker)
    assert worker.wait(PATIENCE) == 2
    assert "The queue shared belongs to the namespace rq" in worker.text()
    assert "Traceback" not in worker.text()


def test_a_service_with_celery_workers_of_its_own_keeps_its_tasks(
    fresh: Stack, sender: Celery
) -> None:
    url = {"OTHER_SERVICE_BROKER": fresh.valkey.url}
    command = (sys.executable, "-m", "celery", "-A", "tests.support.other_service", "worker")
    theirs = Process([*command, "-P", "solo"], fresh.folder / "other.log", url)
    fresh.workers.append(theirs)
    ours = fresh.start_worker()
    slow = sender.send_task("other.slow", args=["slow"])
    wait_until(lambda: fresh.redis.get("other:runs:slow"), "the slow task", 60, theirs.text)
    quick = [sender.send_task("other.quick", args=["quick"]) for _ in range(10)]
    results = [submit(sender, fresh.image()) for _ in range(10)]
    # A worker dies, and another one restores what it had taken: none of the service's messages.
    results[0].get(timeout=PATIENCE)
    ours.kill()
    fresh.start_worker()
    for result in [*results, submit(sender, fresh.image())]:
        result.get(timeout=PATIENCE)
    assert jobs(fresh) == 11
    assert fresh.redis.get("other:runs:slow") == "1"
    fresh.redis.lpush("other:go:slow", "go")
    for result in [slow, *quick]:
        result.get(timeout=PATIENCE)
    assert fresh.redis.get("other:runs:slow") == "1"
    assert fresh.redis.get("other:runs:quick") == "10"
    assert not fresh.redis.exists("messages_aside:{rq}")


def command(stack: Stack, *arguments: str) -> CommandResult:
    """Run the command line on the stack."""
    return run_reelqueue(*arguments, env=stack.env)


def test_malformed_messages_are_set_aside_and_the_worker_continues(
    fresh: Stack, sender: Celery
) -> None:
    worker = fresh.start_worker()
    foreign = sender.send_task("other.task", queue="reelqueue", args=["SECRET"])
    large = b"x" * (MAX_KEPT_BYTES + 1)
    for message in [*MALFORMED.values(), large]:
        fresh.redis.lpush("reelqueue", message)
    assert submit(sender, fresh.image()).get(timeout=PATIENCE)["state"] == "queued"
    aside = fresh.redis.hgetall("messages_aside:{rq}")
    assert len(aside) == len(MALFORMED) + 2
    reasons = [json.loads(value)["reason"] for value in aside.values()]
    assert "it is a task of another service, other.task" in reasons
    (cut,) = [found for found in map(json.loads, aside.values()) if found["raw"] is None]
    assert cut["length"] == len(large)
    assert worker.alive
    assert "SECRET" not in worker.text()
    assert "Traceback" not in worker.text()

    (check,) = [
        check
        for check in command(fresh, "doctor", "--json").records
        if check["check"] == "messages"
    ]
    assert not check["ok"]
    assert check["found"].startswith(f"{len(aside)} set aside")
    assert "SHA-256" in check["found"]
    assert "bytes" in check["found"]
    assert "SECRET" not in json.dumps(check)

    # Returned as they are, they are set aside again; the one that was not kept has stayed.
    submit(sender, fresh.image(), "celery", task_id="misplaced")
    (released,) = command(fresh, "release", "--set-aside", "--json").records
    assert released["changed"] == len(aside), released
    assert waiting(fresh.redis, "celery") == 0
    assert sender.AsyncResult("misplaced").get(timeout=PATIENCE)["state"] == "queued"
    wait_until(
        lambda: set(fresh.redis.hkeys("messages_aside:{rq}")) == set(aside),
        "the messages to be set aside again",
        PATIENCE,
    )
    assert waiting(fresh.redis) == 0
    assert foreign.state == "PENDING"


def test_a_message_that_kills_five_workers_is_set_aside(fresh: Stack, sender: Celery) -> None:
    poison = submit(sender, fresh.image())
    for number in range(5):
        trap = {"REELQUEUE_FAULTPOINTS": "intake:before=kill@1"}
        victim = Worker(f"victim{number}", fresh.folder / "victims.log", {**fresh.env, **trap})
        fresh.workers.append(victim)
        assert victim.wait(PATIENCE) == -9
        # As if the seconds had passed after which a worker counts as dead.
        for name in fresh.redis.zrange("intake.workers:{rq}", 0, -1):
            fresh.redis.zincrby("intake.workers:{rq}", -2 * ALIVE_SECONDS, str(name))
    fresh.start_worker()
    (value,) = wait_until(lambda: fresh.redis.hvals("messages_aside:{rq}"), "it to be set aside")
    assert "5 workers died" in json.loads(value)["reason"]
    after = submit(sender, fresh.image())
    assert after.get(timeout=PATIENCE)["state"] == "queued"
    assert poison.state == "PENDING"
    # It is returned once its cause is found.
    command(fresh, "release", "--set-aside")
    assert poison.get(timeout=PATIENCE)["state"] == "queued"


def test_mutated_messages_beside_running_jobs(fresh: Stack, sender: Celery, seed: int) -> None:
    chance = random.Random(seed)
    worker = fresh.start_worker()
    results = [submit(sender, fresh.image()) for _ in range(5)]
    for _ in range(MUTATIONS // 100):
        fresh.redis.lpush("reelqueue", *(mutated_submission(chance) for _ in range(100)))
    results.append(submit(sender, fresh.image()))
    for result in results:
        assert result.get(timeout=PATIENCE)["state"] == "queued"
    assert waiting(fresh.redis) == 0
    assert worker.alive
    assert worker.text().count("Traceback") == 0
    for result in results:
        sender.AsyncResult(result.get()["job_id"]).get(timeout=PATIENCE)


def test_every_pool_takes_submissions(fresh: Stack, sender: Celery) -> None:
    command = (sys.executable, "-m", "celery", "-A", "worker.app", "worker", "-c", "2")
    workers, results = {}, {}
    # All other tests here use gevent.
    for pool in ("threads", "prefork", "solo"):
        # Each in a namespace, and so on a queue, of its own.
        env = {**fresh.env, "REELQUEUE_NAMESPACE": pool}
        log = fresh.folder / f"{pool}.log"
        workers[pool] = Process([*command, "-P", pool, "-n", f"{pool}@%h"], log, env)
        fresh.workers.append(workers[pool])
        results[pool] = submit(sender, fresh.image(), f"reelqueue.{pool}")
    for pool, result in results.items():
        assert result.get(timeout=PATIENCE)["state"] == "queued", pool
        record = sender.AsyncResult(result.get()["job_id"]).get(timeout=PATIENCE)
        assert record["state"] == "succeeded", pool
    for worker in workers.values():
        worker.terminate()
    for worker in workers.values():
        assert worker.wait(PATIENCE) == 0, worker.text()


def test_a_terminated_worker_finishes_what_it_has_taken(fresh: Stack, sender: Celery) -> None:
    image = fresh.image()
    results = [submit(sender, image) for _ in range(100)]
    worker = fresh.start_worker()
    wait_until_jobs(fresh, 5)
    worker.terminate()
    assert worker.wait(PATIENCE) == 0, worker.text()
    taken = [key for key in fresh.redis.keys("intake.taken:*") if fresh.redis.llen(key)]
    assert taken == []
    assert jobs(fresh) + waiting(fresh.redis) == 100
    fresh.start_worker()
    for result in results:
        result.get(timeout=PATIENCE)
    assert jobs(fresh) == 100
