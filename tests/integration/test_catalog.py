"""The workflow of a small catalog; ``make bench WHAT=catalog`` runs it with a large one."""

import pytest

from tests.bench.catalog import run_workflow
from tests.support.samples.catalog import DEFECTS, Mix
from tests.support.stack import Stack

pytestmark = pytest.mark.integration

SEED = 3


def test_every_row_is_accounted_for_from_the_dry_run_to_the_gallery(stack: Stack) -> None:
    stack.start_sandbox("--stream-seconds", "0.1-0.3", "--clip-height", "64")
    stack.start_worker()
    run_workflow(stack, Mix(rows=40, bad=len(DEFECTS), repeated=3, converted=4), SEED)
