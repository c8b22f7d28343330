"""Stacks of servers and workers, for a test or for a module."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.stack import Stack

REFUSED = (
    *("refused_at_base", "distrust", "cooling_until"),
    *("refusals", "trying_until", "window", "threshold", "window_before"),
    *("plan_refused_at", "plan_probe_at", "plan_wait"),
)
"""The fields of an account in which refusals of the API are recorded."""


@pytest.fixture(scope="module")
def module_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with the stand-in and without workers, shared by the tests of a module."""
    with ExitStack() as resources:
        stack = Stack(tmp_path_factory.mktemp("stack"), resources)
        stack.start_sandbox()
        yield stack


@pytest.fixture(scope="module")
def shared_stack(module_stack: Stack) -> Stack:
    """The stack of a module, with one worker."""
    # An unknown outcome is soon found; the balance is read once.
    timing = {"REELQUEUE_STREAM_TIMEOUT_SECONDS": "3", "REELQUEUE_BALANCE_SECONDS": "100000"}
    module_stack.start_worker(**timing)
    return module_stack


@pytest.fixture
def clean_stack(shared_stack: Stack) -> Stack:
    """The shared stack without faults, held jobs or refusals of earlier tests."""
    stack = shared_stack
    stack.sandbox.clear_faults()
    # A held job that is released during the test would meet the fault meant for the test's job.
    stack.ledger.cancel_many(map(str, stack.redis.zrange(stack.ledger.key("jobs"), 0, -1)))
    stack.wait_until_idle()
    for account in stack.redis.scan_iter("account:{rq}:*"):
        stack.redis.hdel(account, *REFUSED)
    return stack


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack in which only Valkey runs."""
    with ExitStack() as resources:
        yield Stack(tmp_path, resources)
