"""The queue of submissions: whatever dies, each message is in exactly one place and comes again."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from celery import Celery
from redis import Redis

from tests.support.valkey import Valkey
from tests.support.waiting import wait_until
from worker.intake.submission_queue import (
    ALIVE_SECONDS,
    QueueOwnedError,
    SubmissionQueue,
    messages_in,
    move_message,
)


@pytest.fixture
def broker(valkey: Valkey) -> Iterator[Redis]:
    with Redis.from_url(valkey.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def queue(broker: Redis) -> SubmissionQueue:
    return SubmissionQueue(broker, "reelqueue", "rq", "w1")


def test_messages_are_taken_in_order_and_by_priority(
    valkey: Valkey, queue: SubmissionQueue
) -> None:
    app = Celery("other", broker=valkey.url, set_as_current=False)
    for name, priority in (("a", 9), ("b", 0), ("c", 0), ("d", 3)):
        app.send_task("tasks.submit", [name], queue="reelqueue", priority=priority, task_id=name)
    app.close()
    taken = [queue.take() for _ in range(4)]
    assert [
        raw and raw.count(f'"id": "{name}"'.encode())
        for raw, name in zip(taken, "bcda", strict=True)
    ] == [1, 1, 1, 1]
    assert queue.take() is None


def test_an_acknowledged_message_is_gone(broker: Redis, queue: SubmissionQueue) -> None:
    queue.put(b"m")
    raw = queue.take()
    assert raw == b"m"
    assert queue.count_try(raw) == 1
    queue.acknowledge(raw)
    assert queue.restore() == 0
    assert [key for key in broker.keys("*") if b"taken" in key or b"tries" in key] == []


def test_a_message_that_is_given_back_comes_next_and_is_no_try(queue: SubmissionQueue) -> None:
    queue.put(b"first")
    queue.put(b"second")
    raw = queue.take()
    assert raw == b"first"
    assert queue.count_try(raw) == 1
    queue.give_back(raw)
    assert queue.take() == b"first"
    assert queue.count_try(raw) == 1


def test_messages_of_a_dead_worker_come_again_in_their_order(
    broker: Redis, queue: SubmissionQueue
) -> None:
    dead = SubmissionQueue(broker, "reelqueue", "rq", "dead")
    for name in (b"1", b"2", b"3"):
        queue.put(name)
    dead.register()
    assert (dead.take(), dead.take()) == (b"1", b"2")
    assert queue.restore() == 0
    broker.zincrby("intake.workers:{rq}", -6, "dead")
    assert queue.restore() == 2
    assert [queue.take() for _ in range(3)] == [b"1", b"2", b"3"]
    assert queue.restore() == 0


def test_what_a_live_worker_did_not_settle_it_puts_back_itself(queue: SubmissionQueue) -> None:
    queue.put(b"m")
    queue.take()
    assert queue.return_taken() == 1
    assert queue.take() == b"m"


def test_what_a_live_worker_has_in_its_list_is_left_over(
    broker: Redis, queue: SubmissionQueue
) -> None:
    """As after a lost reply, or when an older copy of the data is restored."""
    assert queue.unfinished() is None
    queue.put(b"m")
    queue.take()
    copy = broker.dump("intake.taken:{rq}:w1") or b""
    queue.acknowledge(b"m")
    assert queue.unfinished() is None
    broker.restore("intake.taken:{rq}:w1", 0, copy)
    assert queue.unfinished() == b"m"
    queue.acknowledge(b"m")
    assert queue.unfinished() is None


def test_a_message_that_is_taken_after_a_flush_is_restored(
    broker: Redis, queue: SubmissionQueue
) -> None:
    queue.register()
    broker.flushall()
    queue.put(b"m")
    assert queue.take() == b"m"
    broker.zincrby("intake.workers:{rq}", -2 * ALIVE_SECONDS, "w1")
    assert SubmissionQueue(broker, "reelqueue", "rq", "w2").restore() == 1


def test_a_message_whose_worker_dies_as_it_arrives_is_taken_by_another(
    broker: Redis, queue: SubmissionQueue
) -> None:
    """It died after the reply to the command that waits, and before it took the message."""
    broker.lpush("intake.arrived:{rq}", b"m")
    assert queue.take() == b"m"
    assert not broker.exists("reelqueue", "intake.arrived:{rq}")


def test_a_worker_that_waits_through_a_flush_takes_what_comes_then(
    broker: Redis, queue: SubmissionQueue
) -> None:
    queue.register()
    assert queue.take() is None

    def take_through_flush() -> bool:
        taken = threads.submit(queue.take)
        wait_until(lambda: "blmove" in str(broker.client_list()), "it to wait")
        broker.flushall()
        broker.lpush("reelqueue", b"m")
        return taken.result(60) == b"m"

    with ThreadPoolExecutor() as threads:
        # On a busy machine its wait may be over before the message is there.
        wait_until(take_through_flush, "the message to be taken")
    broker.zincrby("intake.workers:{rq}", -2 * ALIVE_SECONDS, "w1")
    assert SubmissionQueue(broker, "reelqueue", "rq", "w2").restore() == 1


def test_a_postponed_message_comes_at_its_time(queue: SubmissionQueue) -> None:
    queue.put(b"later")
    queue.put(b"due")
    for raw in (b"later", b"due"):
        assert queue.take() == raw
    queue.postpone(b"later", time.time() + 3600)
    queue.postpone(b"due", time.time() - 1)
    assert queue.put_back_postponed() == 1
    assert queue.take() == b"due"


def test_a_queue_has_one_namespace(broker: Redis, queue: SubmissionQueue) -> None:
    queue.claim_name()
    queue.claim_name()
    with pytest.raises(QueueOwnedError, match="REELQUEUE_QUEUE"):
        SubmissionQueue(broker, "reelqueue", "staging", "w2").claim_name()


def test_a_message_moves_from_another_queue(broker: Redis, queue: SubmissionQueue) -> None:
    broker.lpush("celery", b"old", b"new")
    assert list(messages_in(broker, "celery", 10)) == [b"old", b"new"]
    move_message(broker, b"old", "celery", "reelqueue")
    assert list(messages_in(broker, "celery", 10)) == [b"new"]
    assert queue.take() == b"old"
