"""What this service costs beside its alternatives, with all goals: the first one to run.

Runs several measurements one after another, which takes some minutes, and prints in the end each
figure that has a goal.
"""

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.bench.report.goals import Goal, goals_table
from tests.bench.report.series import Runs, run_series

OPTIONS: dict[str, tuple[object, str]] = {}
RUNS: Final[Runs] = {"comparison": {}, "streams": {}, "results": {}, "submit": {}, "start": {}}
"""The measurements, and the options that differ from their defaults."""


def run(_options: Namespace, folder: Path) -> Iterator[Any]:
    """Run them one after another, and yield what each prints, then all goals."""
    goals = []
    for part in run_series(RUNS, folder):
        if isinstance(part, Goal):
            goals.append(part)
        else:
            yield part
    yield goals_table(goals)
