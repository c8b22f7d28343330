"""Workers that find records, results and queues through a Sentinel survive a failover."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.sentinel import SentinelSetup
from tests.support.stack import Stack
from tests.support.waiting import wait_until
from worker.ledger.ledger import Ledger
from worker.ledger.model.states import State

pytestmark = pytest.mark.integration


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[SentinelSetup]:
    with ExitStack() as resources:
        yield SentinelSetup(tmp_path / "servers", resources)


@pytest.fixture
def sentinel_stack(stack: Stack, setup: SentinelSetup) -> Stack:
    """A stack whose records, results and queues are found through the Sentinel."""
    stack.start_sandbox()
    stack.env["REDIS_URL"] = setup.url
    stack.redis = setup.client()
    stack.ledger = Ledger(stack.redis, "rq", lease_seconds=stack.ledger.lease_ms / 1000)
    return stack


def test_a_failover_stops_neither_workers_nor_jobs(
    sentinel_stack: Stack, setup: SentinelSetup
) -> None:
    """The scripts and connections of the worker are new after it, and so is a job's result."""
    stack = sentinel_stack
    worker = stack.start_worker()

    def submit_and_wait(name: str) -> None:
        job_id = stack.submit(stack.image(f"{name}.png"))
        stack.wait_for(job_id, State.SUCCEEDED)
        key = f"celery-task-meta-{job_id}"
        wait_until(
            lambda: json.loads(str(stack.redis.get(key) or "{}")).get("status") == "SUCCESS",
            "the result of the job",
        )

    submit_and_wait("before")
    stack.sandbox.inject_faults({"call": "export", "action": "refuse", "code": 500, "ratio": 1.0})
    under_way = stack.submit(stack.image())
    stack.wait_for(under_way, State.RENDERING)
    assert stack.redis.wait(1, 60_000) == 1

    setup.fail_over()
    stack.sandbox.clear_faults()
    assert worker.alive
    stack.wait_for(under_way, State.SUCCEEDED)
    submit_and_wait("after")
    assert worker.alive
    assert sum(bool(m["charged"]) for m in stack.sandbox.ledger()["messages"]) == 3
