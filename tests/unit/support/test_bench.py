"""Measurements are found by their names."""

import subprocess
import sys

from tests.bench.__main__ import benches
from tests.support.processes import ROOT


def test_every_measurement_says_what_it_is() -> None:
    found = benches()
    assert {"polls", "submit", "catalog", "fairness"} <= set(found)
    assert all(found.values())


def test_an_unknown_one_is_answered_with_those_there_are() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "nope"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "WHAT=catalog" in done.stdout
    assert "«nope»" in done.stderr
