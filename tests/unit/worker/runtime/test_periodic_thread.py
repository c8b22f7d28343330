"""The rounds of a worker go on through an outage, and tell of it once."""

import threading
from collections.abc import Iterator

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from worker.runtime.bootsteps import PeriodicThread


def told(*script: Exception | None) -> list[tuple[str, str]]:
    """What rounds say that meet these, one after another: level and event."""
    over = threading.Event()

    def once() -> Iterator[Exception | None]:
        yield from script
        over.set()
        while True:
            yield None

    steps = once()

    def work() -> None:
        if error := next(steps):
            raise error

    with capture_logs() as logs:
        rounds = PeriodicThread("test", 0.001, work)
        rounds.start()
        assert over.wait(30), "the rounds went on"
        rounds.stop()
    return [(log["log_level"], log["event"]) for log in logs]


def test_an_outage_of_redis_is_told_as_it_begins_and_as_it_ends() -> None:
    away = RedisConnectionError("refused")
    assert told(None, *[away] * 20, ValueError("a fault of ours"), away, None) == [
        ("warning", "Redis does not answer"),
        ("error", "a round failed"),
        ("info", "Redis answers again"),
    ]


def test_what_redis_refuses_is_a_fault_and_no_outage() -> None:
    """A script that fails would fail for ever, and nothing be handed out: somebody must know."""
    full, fault = ResponseError("OOM command not allowed"), ResponseError("WRONGTYPE in a script")
    away = RedisConnectionError("refused")
    assert told(*[full] * 20, *[fault] * 20, away, away, *[fault] * 2, None) == [
        ("error", "Redis refuses a round"),
        ("error", "Redis refuses a round"),
        ("warning", "Redis does not answer"),
        ("error", "Redis refuses a round"),
        ("info", "Redis answers again"),
    ]
