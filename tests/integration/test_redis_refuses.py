"""A worker waits while Redis answers with errors, logs it, and continues when they end."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from tests.integration.test_intake_faults import submit
from tests.support.celery_apps import third_party
from tests.support.celery_messages import raw_message
from tests.support.commands import run_reelqueue
from tests.support.processes import Process, Worker
from tests.support.stack import Stack
from tests.support.valkey import Valkey
from tests.support.waiting import refusing_port, wait_until
from worker.ledger.model.states import State

pytestmark = pytest.mark.integration

SECRET = "a-password-of-the-tests"
REFUSALS = 10
MODES = ("oom", "read-only", "misconf", "password")


@pytest.fixture(scope="module")
def shared_stack(module_stack: Stack) -> Stack:
    """One stack, whose worker must outlive every test of the module."""
    module_stack.start_worker()
    # Where a snapshot belongs there is a folder: each snapshot fails.
    (module_stack.valkey.folder / "dump.rdb" / "taken").mkdir(parents=True)
    return module_stack


def refuse(stack: Stack, mode: str) -> None:
    """Make Redis refuse commands, and close all connections, so that clients connect again."""
    match mode:
        case "oom":
            stack.redis.config_set("maxmemory", "1")
        case "read-only":
            stack.redis.replicaof("127.0.0.1", "1")
        case "misconf":
            stack.redis.config_set("save", "3600 1")
            # The snapshot of an earlier test may have failed already.
            with suppress(RedisError):
                stack.redis.set("test:changed", 1)
                stack.redis.bgsave()
            wait_until(lambda: is_refused(stack), "the snapshot to fail")
        case "password":
            stack.redis.config_set("requirepass", SECRET)
    drop_connections(stack)


def drop_connections(stack: Stack) -> None:
    """Close every connection but the test's own."""
    stack.redis.client_kill_filter(_type="normal", skipme=True)


def accept(stack: Stack) -> None:
    """Undo every refusal."""
    stack.redis.config_set("maxmemory", "0")
    stack.redis.replicaof("NO", "ONE")
    stack.redis.config_set("save", "")
    stack.redis.config_set("requirepass", "")


def is_refused(stack: Stack) -> bool:
    with suppress(RedisError):
        stack.redis.set("test:changed", 1)
        return False
    return True


WORDS = {
    "oom": ("OOM", "OutOfMemory", "used memory"),
    "read-only": ("READONLY", "read only"),
    "misconf": ("MISCONF",),
    "password": ("NOAUTH", "Authentication", "authenticated"),
}


@pytest.mark.parametrize("mode", MODES)
def test_a_worker_waits_while_redis_refuses(shared_stack: Stack, mode: str) -> None:
    (worker,) = shared_stack.workers
    start = len(worker.text())
    running = shared_stack.submit(shared_stack.image())
    shared_stack.wait_for(running, State.GENERATING, State.RENDERING, State.SUCCEEDED)

    refuse(shared_stack, mode)
    try:
        wait_until(
            lambda: any(word in worker.text()[start:] for word in WORDS[mode]) or not worker.alive,
            "the worker to say so",
            explain=lambda: worker.text()[start:],
        )
        # A second loss of every connection, which finds them refused again.
        drop_connections(shared_stack)
        checks = doctor(shared_stack)
        assert any(not check["ok"] for check in checks)
        assert SECRET not in str(checks)
    finally:
        accept(shared_stack)
    with third_party(shared_stack.valkey.url) as sender:
        assert submit(sender, shared_stack.image()).get(timeout=120)["state"] == "queued"
    shared_stack.wait_for(running, State.SUCCEEDED)
    shared_stack.wait_until_idle()
    assert worker.alive
    said = worker.text()[start:]
    assert "Unrecoverable" not in said
    assert "mingle" not in said, "it waited for other workers when it connected again"
    # Once for each loss of all connections, not at each of its many tries. A server that becomes a
    # replica closes those that wait for messages, before the test closes all.
    losses = 3 if mode == "read-only" else 2
    assert said.count("consumer: Connection to broker lost") <= losses


def doctor(stack: Stack) -> list[dict[str, object]]:
    return run_reelqueue("doctor", "--json", env=stack.env).records


def test_malformed_messages_do_not_end_the_consumer_of_wake_ups(shared_stack: Stack) -> None:
    (worker,) = shared_stack.workers
    wrong = [
        *(b"null", b"5", b"[]", b"text", b"\xff\xfe", b"{}", b""),
        raw_message(headers={"task": ["SECRET"]}),
        raw_message(headers={"task": "other.task"}),
        raw_message(headers={"task": "tasks.prepare", "eta": "soon"}),
        raw_message(headers={"task": "tasks.prepare", "timelimit": 5}),
        raw_message(b"null", headers={"task": "tasks.prepare"}),
        raw_message(b'[["SECRET", 2, 3, 4, 5], {}, {}]', headers={"task": "tasks.prepare"}),
        raw_message(headers={"task": "tasks.prepare"}, properties={}),
        raw_message(headers={"task": "tasks.prepare"}, properties={"delivery_tag": "x"}),
    ]
    start = len(worker.text())
    for message in wrong:
        shared_stack.redis.lpush("rq.wakeups", message)
    wait_until(lambda: not shared_stack.redis.llen("rq.wakeups"), "the messages to be read")
    job = shared_stack.submit(shared_stack.image())
    shared_stack.wait_for(job, State.SUCCEEDED)
    assert worker.alive
    assert "Unrecoverable" not in worker.text()[start:]
    assert "SECRET" not in worker.text()[start:]
    assert "other.task" in str(shared_stack.redis.hvals("messages_aside:{rq}"))


def test_a_broadcast_that_is_none_does_not_end_the_consumer(shared_stack: Stack) -> None:
    (worker,) = shared_stack.workers
    start = len(worker.text())
    wrong = (b"5", b"null", b"text", b"{}", raw_message(b"{}"), raw_message(b'{"method": 5}'))

    def publish(channel: str, message: bytes) -> bool:
        return bool(shared_stack.redis.publish(channel, message))

    for channel in ("/0.celery.pidbox", "/0.celeryev/worker.heartbeat"):
        for message in wrong:
            # A worker that starts, or connects again, subscribes a moment later.
            wait_until(partial(publish, channel, message), "a subscriber", explain=worker.text)
    wait_until(
        lambda: worker.text()[start:].count("broadcast dropped") >= len(wrong),
        "the broadcasts to be read",
        explain=worker.text,
    )
    job = shared_stack.submit(shared_stack.image())
    shared_stack.wait_for(job, State.SUCCEEDED)
    assert worker.alive
    assert "Unrecoverable" not in worker.text()[start:]


def started(stack: Stack, name: str, **env: str) -> Process:
    """A worker with other settings."""
    worker = Worker(name, stack.folder / f"{name}.log", {**stack.env, **env})
    stack.workers.append(worker)
    stack._resources.callback(worker.stop)
    return worker


@pytest.mark.parametrize("mode", ["oom", "read-only", "misconf"])
def test_a_worker_that_starts_while_redis_refuses_waits(shared_stack: Stack, mode: str) -> None:
    name = f"late-{mode}"
    refuse(shared_stack, mode)
    try:
        worker = started(shared_stack, name)
        wait_until(
            lambda: any(word in worker.text() for word in WORDS[mode]) or not worker.alive,
            "the worker to say so",
            explain=worker.text,
        )
    finally:
        shared_stack.workers.pop()
        accept(shared_stack)
    wait_until(lambda: worker.is_ready or not worker.alive, "its start", explain=worker.text)
    names = shared_stack.ledger.key("workers")
    wait_until(
        lambda: any(
            str(found).startswith(f"{name}@") for found in shared_stack.redis.zrange(names, 0, -1)
        ),
        "its registration",
    )
    assert worker.alive
    assert "Unrecoverable" not in worker.text()
    worker.stop()


@contextmanager
def refusing(port: int) -> Iterator[list[int]]:
    """Accept and close all connections on a port; the list grows with each."""
    refused: list[int] = []
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.settimeout(0.1)

        def refuse_all() -> None:
            while not stop.is_set():
                with suppress(TimeoutError):
                    listener.accept()[0].close()
                    refused.append(port)

        thread = threading.Thread(target=refuse_all)
        thread.start()
        try:
            yield refused
        finally:
            stop.set()
            thread.join()


def test_a_worker_waits_for_a_broker_that_refuses(shared_stack: Stack, tmp_path: Path) -> None:
    """At its start and later; the server of the records answers all the time."""
    broker = Valkey(tmp_path / "broker")
    env = {"BROKER_URL": broker.url, "REELQUEUE_NAMESPACE": "apart"}
    with refusing(broker.port) as refused:
        worker = started(shared_stack, "apart", **env)
        shared_stack.workers.pop()

        def is_refused() -> bool:
            return len(refused) >= REFUSALS or not worker.alive

        wait_until(is_refused, "the worker to be refused", explain=worker.text)
    try:
        broker.start()
        wait_until(lambda: worker.is_ready, "the worker to start", explain=worker.text)
        broker.stop()
        with refusing(broker.port) as refused:
            wait_until(is_refused, "the worker to be refused again", explain=worker.text)
        broker.start()
        with third_party(broker.url, shared_stack.valkey.url) as sender:
            answer = submit(sender, shared_stack.image(), "reelqueue.apart").get(timeout=120)
            done = sender.AsyncResult(answer["job_id"]).get(timeout=120)
        assert done["state"] == "succeeded"
        assert worker.alive
        assert "Unrecoverable" not in worker.text()
    finally:
        worker.stop()
        broker.stop()


def test_a_worker_whose_password_is_wrong_from_the_start_ends_with_a_sentence(
    shared_stack: Stack,
) -> None:
    shared_stack.redis.config_set("requirepass", SECRET)
    try:
        url = shared_stack.valkey.url.replace("redis://", "redis://:not-the-right-one@")
        worker = started(shared_stack, "wrong", REDIS_URL=url)
        assert worker.wait() == 2, worker.text()
    finally:
        shared_stack.redis.config_set("requirepass", "")
        shared_stack.workers.pop()
    assert "REDIS_URL" in worker.text()
    assert "password" in worker.text()
    assert "not-the-right-one" not in worker.text()
    assert "Traceback" not in worker.text()


def test_a_worker_that_cannot_reach_the_api_with_its_environment_ends_with_a_sentence(
    shared_stack: Stack,
) -> None:
    env = {"NEMO_API_URL": "https://api.invalid", "ALL_PROXY": "socks://127.0.0.1:1080/"}
    worker = started(shared_stack, "proxied", **env)
    try:
        assert worker.wait() == 2, worker.text()
    finally:
        shared_stack.workers.pop()
    assert "\nALL_PROXY: " in f"\n{worker.text()}"
    assert "Traceback" not in worker.text()


def test_doctor_continues_where_the_broker_is_away(shared_stack: Stack) -> None:
    env = {**shared_stack.env, "BROKER_URL": f"redis://127.0.0.1:{refusing_port()}/0"}
    checks = run_reelqueue("doctor", "--json", env=env).records
    ok = {check["check"]: check["ok"] for check in checks}
    assert not ok["broker"]
    assert "messages" in ok
    assert ok["token"]


def test_doctor_reports_a_wrong_password(shared_stack: Stack) -> None:
    shared_stack.redis.config_set("requirepass", SECRET)
    try:
        url = shared_stack.valkey.url.replace("redis://", "redis://:not-the-right-one@")
        checks = run_reelqueue("doctor", "--json", env={**shared_stack.env, "REDIS_URL": url})
    finally:
        shared_stack.redis.config_set("requirepass", "")
    (redis,) = [check for check in checks.records if check["check"] == "redis"]
    assert "refuses the user or the password" in str(redis["remedy"])
    assert "not-the-right-one" not in checks.out
