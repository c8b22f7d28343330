"""Periodic threads continue through an outage of Redis, and log it once."""

import errno
import threading
from collections.abc import Iterator

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from worker.runtime.periodic_thread import PeriodicThread


def logged(*results: Exception | None) -> list[tuple[str, str]]:
    """Run a thread whose calls have these results in order; return its log levels and events."""
    done = threading.Event()

    def each_result() -> Iterator[Exception | None]:
        yield from results
        done.set()
        while True:
            yield None

    next_result = each_result()

    def work() -> None:
        if error := next(next_result):
            raise error

    with capture_logs() as logs:
        thread = PeriodicThread("test", 0.001, work)
        thread.start()
        assert done.wait(30), "the thread did not continue"
        thread.stop()
    return [(log["log_level"], log["event"]) for log in logs]


def test_an_outage_of_redis_is_logged_at_its_start_and_at_its_end() -> None:
    outage = RedisConnectionError("refused")
    assert logged(None, *[outage] * 20, ValueError("unexpected"), outage, None) == [
        ("warning", "Redis does not answer"),
        ("error", "periodic work failed"),
        ("info", "Redis answers again"),
    ]


def test_an_error_reply_of_redis_is_logged_as_an_error_and_not_as_an_outage() -> None:
    """A faulty script would fail forever and stop all dispatching, so it must be noticed."""
    full, faulty = ResponseError("OOM command not allowed"), ResponseError("WRONGTYPE in a script")
    outage = RedisConnectionError("refused")
    assert logged(*[full] * 20, *[faulty] * 20, outage, outage, *[faulty] * 2, None) == [
        ("error", "Redis returned an error"),
        ("error", "Redis returned an error"),
        ("warning", "Redis does not answer"),
        ("error", "Redis returned an error"),
        ("info", "Redis answers again"),
    ]


def test_a_failure_that_lasts_is_logged_once() -> None:
    """The ticker runs twice a second: a traceback each time would hide everything else."""
    short = OSError(errno.EMFILE, "Too many open files")
    assert logged(*[short] * 20, *[ValueError("odd")] * 20, None, ValueError("odd"), None) == [
        ("warning", "periodic work waits"),
        ("error", "periodic work failed"),
        ("error", "periodic work failed"),
    ]
