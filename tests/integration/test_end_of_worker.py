"""A worker that is terminated ends, even while Redis is away."""

import pytest

from tests.support.stack import Stack
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration


def test_a_worker_ends_while_redis_is_away(stack: Stack) -> None:
    stack.start_sandbox()
    worker = stack.start_worker()
    stack.valkey.stop()
    # By then, Celery has tried to send a heartbeat.
    wait_until(lambda: "thread=intake" in worker.text(), "the worker to miss Redis")
    worker.terminate()
    assert worker.wait() == 0, worker.text()
    assert "worker could not be unregistered" in worker.text()
    assert "Traceback" not in worker.text().partition("worker is draining")[2]
