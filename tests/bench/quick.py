"""Small runs of several measurements, in at most a minute, to see that they work.

The figures mean little: the runs are short, and share the machine with what else runs on it.
"""

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.bench.report.series import Runs, run_series

OPTIONS: dict[str, tuple[object, str]] = {}
RUNS: Final[Runs] = {
    "submit": {"rows": 1000, "pictures": 10},
    "results": {"jobs": 1000},
    "scrape": {"jobs": 1000},
    "records": {"jobs": 5},
    "cost": {"jobs": 5, "slots": 20, "idle_seconds": 1.0},
    "processes": {"jobs": 5, "slots": 20, "stream_seconds": 0.2},
    "start": {"rounds": 1},
    "growth": {"jobs": "10", "ended": 10, "poll_seconds": 0.2, "clip": "small"},
    "comparison": {
        "jobs": 5,
        "warm_up": 1,
        "slots": 5,
        "processes": 2,
        "poll_seconds": 0.1,
        "clip": "small",
    },
    "streams": {
        "jobs": 60,
        "slots": 100,
        "in_flight": 100,
        "goal": 50,
        "pictures": 5,
        "stream_seconds": 4.0,
        "poll_seconds": 0.3,
        "clip": "small",
        "most_kb": 400,
    },
}
"""The measurements, and the options that differ from their defaults."""


def run(_options: Namespace, folder: Path) -> Iterator[Any]:
    """Run them one after another, and yield what each prints."""
    return run_series(RUNS, folder)
