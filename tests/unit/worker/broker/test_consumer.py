"""Celery's consumer: its log lines, and the waits between its attempts to connect."""

import logging
from types import SimpleNamespace

import pytest
from celery import Celery
from celery.worker.consumer import Consumer
from kombu import Connection
from kombu.exceptions import OperationalError

from tests.support.waiting import refusing_port
from worker.broker.consumer import ReconnectingConsumer, _RepeatedLineFilter, limit_retry_waits
from worker.broker.control import QuietPidbox


def line(text: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("celery", logging.WARNING, __file__, 1, text, arguments, None)


def test_a_line_that_repeats_is_dropped_and_another_is_not() -> None:
    once = _RepeatedLineFilter()
    assert once.filter(line("lost %s (%r): %s", "redis", "full", "first try"))
    assert not once.filter(line("lost %s (%r): %s", "redis", "full", "second try"))
    assert once.filter(line("lost %s (%r): %s", "redis", "read-only", "first try"))
    assert once.filter(line("connected"))


def test_the_waits_between_attempts_to_connect_stay_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a long outage, a worker is back within seconds."""
    monkeypatch.setattr("kombu.utils.functional.sleep", lambda _: None)
    waits: list[float] = []
    with Connection(f"redis://127.0.0.1:{refusing_port()}/0") as connection:
        limit_retry_waits(connection)
        with pytest.raises(OperationalError):
            connection.ensure_connection(lambda _, wait: waits.append(wait), max_retries=6)
    assert waits == [1, 2, 3, 3, 3, 3]


def test_the_remote_control_ends_without_a_traceback_when_the_broker_goes_away() -> None:
    def connect() -> None:
        raise OperationalError("Connection refused")

    app = Celery("test", broker="memory://", set_as_current=False)
    consumer = SimpleNamespace(
        hostname="w1",
        app=app,
        controller=SimpleNamespace(use_eventloop=False),
        connection_for_read=connect,
    )
    mailbox = QuietPidbox(consumer)
    mailbox.loop(consumer)
    mailbox.on_stop()  # would wait for a loop that has not ended


def test_the_consumer_has_all_steps_of_celery_with_this_remote_control() -> None:
    ours, celerys = (
        set(each.default_steps) for each in (ReconnectingConsumer.Blueprint, Consumer.Blueprint)
    )
    assert ours - celerys == {"worker.broker.control:QuietControl"}
    assert celerys - ours == {"celery.worker.consumer.control:Control"}
