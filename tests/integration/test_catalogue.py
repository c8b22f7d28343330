"""A small catalogue's whole way, as ``make bench WHAT=catalogue`` goes it with a large one."""

import pytest

from tests.bench.catalogue import walk
from tests.integration.conftest import House
from tests.support.catalogue import WRONG, Mix

pytestmark = pytest.mark.integration

SEED = 3


def test_every_row_is_accounted_for_from_the_dry_run_to_the_gallery(house: House) -> None:
    house.open_sandbox("--stream-seconds", "0.1-0.3", "--clip-height", "64")
    house.start_worker()
    walk(house, Mix(rows=40, bad=len(WRONG), again=3, converted=4), SEED)
