"""The rounds of a worker go on through an outage, and tell of it once."""

import threading
from collections.abc import Iterator

from redis.exceptions import ConnectionError as RedisConnectionError
from structlog.testing import capture_logs

from worker.bootsteps import Rounds


def test_an_outage_of_redis_is_told_as_it_begins_and_as_it_ends() -> None:
    over = threading.Event()

    def script() -> Iterator[Exception | None]:
        yield None
        for _ in range(20):
            yield RedisConnectionError("refused")
        yield ValueError("a fault of ours")
        yield from (RedisConnectionError("refused"), None)
        over.set()
        while True:
            yield None

    steps = script()

    def work() -> None:
        if error := next(steps):
            raise error

    with capture_logs() as logs:
        rounds = Rounds("test", 0.001, work)
        rounds.start()
        assert over.wait(30), "the rounds went on"
        rounds.stop()
    assert [log["event"] for log in logs] == [
        "Redis does not answer",
        "a round failed",
        "Redis answers again",
    ]
