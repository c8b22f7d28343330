"""Messages that are sent together."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from celery import Celery
from kombu import Consumer, Message, Queue
from redis import Redis

from tests.support.costs import commands_by_name
from tests.support.valkey import Valkey
from worker.broker.transport import MAX_TOGETHER, TRANSPORT

QUEUE = "t.wakeups"
TASK = "celery.backend_cleanup"
"""A task that each worker has."""


@pytest.fixture
def app(valkey: Valkey) -> Iterator[Celery]:
    with Celery(
        "t",
        broker=valkey.url,
        set_as_current=False,
        broker_transport=TRANSPORT,
        task_default_queue=QUEUE,
    ) as app:
        yield app


def test_messages_are_sent_in_one_command_in_their_order(app: Celery, redis: Redis) -> None:
    with app.producer_pool.acquire(block=True) as producer:
        app.send_task("one", ["0"], queue=QUEUE, producer=producer, ignore_result=True)
        before, channel = commands_by_name(redis), channel_of(producer)
        with channel.sending_together():
            for number in range(1, 300):
                arguments = [str(number)]
                app.send_task("one", arguments, queue=QUEUE, producer=producer, ignore_result=True)
        after = commands_by_name(redis)
    assert after["lpush"] - before["lpush"] == 1
    assert after.get("smembers", 0) - before.get("smembers", 0) == 0
    sent = [json.loads(raw) for raw in redis.lrange(QUEUE, 0, -1)]
    assert len(sent) == 300
    assert [message["headers"]["argsrepr"] for message in sent] == [
        repr([str(number)]) for number in reversed(range(300))
    ]
    alone, together = sent[-1], sent[0]
    for message in alone, together:
        for changing in "delivery_tag", "correlation_id":
            del message["properties"][changing]
    assert together["properties"] == alone["properties"]
    assert together["headers"].keys() == alone["headers"].keys()


def test_after_an_error_no_message_is_sent_and_the_next_ones_are(app: Celery, redis: Redis) -> None:
    with app.producer_pool.acquire(block=True) as producer:
        with suppress(ZeroDivisionError), channel_of(producer).sending_together():
            app.send_task("one", [], queue=QUEUE, producer=producer, ignore_result=True)
            divmod(1, 0)
        assert redis.llen(QUEUE) == 0
        app.send_task("two", [], queue=QUEUE, producer=producer, ignore_result=True)
    assert redis.llen(QUEUE) == 1


def test_waiting_messages_are_read_in_one_command_as_far_as_there_is_room(
    app: Celery, redis: Redis
) -> None:
    with (
        app.producer_pool.acquire(block=True) as producer,
        channel_of(producer).sending_together(),
    ):
        for number in range(MAX_TOGETHER + 20):
            app.send_task(TASK, [number], queue=QUEUE, producer=producer, ignore_result=True)
    read: list[Message] = []
    with app.connection_for_read() as connection:
        channel: Any = connection.channel()
        channel.basic_qos(0, 10, False)
        with Consumer(channel, [Queue(QUEUE)], on_message=read.append):
            before = commands_by_name(redis)
            connection.drain_events(timeout=30)
            assert numbers(read) == list(range(10))
            assert commands_by_name(redis)["rpop"] - before.get("rpop", 0) == 1
            for message in read:
                message.ack()
            channel.basic_qos(0, 0, False)
            connection.drain_events(timeout=30)
            assert numbers(read) == list(range(10 + 1 + MAX_TOGETHER))
        for message in read[10:]:
            message.ack()


def numbers(messages: list[Message]) -> list[int]:
    """Return the argument of each task."""
    return [int(message.headers["argsrepr"].strip("[]")) for message in messages]


def channel_of(producer: Any) -> Any:
    """Return the channel of a producer, whose type kombu leaves open."""
    return producer.channel
