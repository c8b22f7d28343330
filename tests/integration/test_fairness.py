"""A small batch gets its share beside a large one; `make bench WHAT=fairness` uses larger ones."""

import pytest

from tests.bench.fairness import measure_fairness
from tests.support.stack import Stack

pytestmark = pytest.mark.integration

LARGE, SMALL = 200, 5
SLOTS = 20


def test_a_small_batch_behind_a_large_one_gets_its_share(stack: Stack) -> None:
    stack.start_sandbox("--stream-seconds", "0.1", "--clip-height", "64")
    stack.start_worker("-c", str(SLOTS))
    ran = measure_fairness(stack, LARGE, SMALL)
    assert len(ran.small) == SMALL
    # Jobs of both start in turn; those that the worker has already taken run beside them.
    assert ran.started_meanwhile(ran.starts[-1]) <= SMALL + SLOTS
    # Behind the large batch, it would end after almost all of its jobs. Those that wait for their
    # renders take no slot: on a busy machine they are more than the slots.
    assert ran.ended_meanwhile(ran.ends[-1]) <= LARGE // 2
    assert len(ran.large) < LARGE, "the large one was still running"
