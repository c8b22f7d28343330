"""A small batch beside a large one, as ``make bench WHAT=fairness`` has it with larger ones."""

import pytest

from tests.bench.fairness import measure_fairness
from tests.support.stack import Stack

pytestmark = pytest.mark.integration

LARGE, SMALL = 100, 5
SLOTS = 20


def test_a_small_batch_behind_a_large_one_starts_and_ends_with_its_share(stack: Stack) -> None:
    stack.start_sandbox("--stream-seconds", "0.1", "--clip-height", "64")
    stack.start_worker("-c", str(SLOTS))
    ran = measure_fairness(stack, LARGE, SMALL)
    assert len(ran.small) == SMALL
    # One of each in turn; what the worker holds already goes on beside them.
    assert ran.started_meanwhile(ran.starts[-1]) <= SMALL + SLOTS
    assert ran.ended_meanwhile(ran.ends[-1]) <= 2 * SMALL + 2 * SLOTS
    assert len(ran.large) < LARGE, "the large one was still under way"
