"""How long the command line takes to start, beside Python itself and the import of its libraries.

Runs the commands in turn, each several times as a process of its own. The ratio of `status` is that
of the CPU times, which other programs on the machine disturb less than the durations.
"""

import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from rich.table import Table

from tests.bench.report.goals import Goal
from tests.support.costs import CommandCost, run_measured
from tests.support.valkey import valkey_in_memory
from worker.ledger.ledger import Ledger
from worker.ledger.model.submissions import NewJob

OPTIONS = {"rounds": (9, "runs of each command")}
VERSION, STATUS = "reelqueue --version", "reelqueue status JOB"
LIBRARIES = "import typer, redis, pydantic_settings"
MAX_VERSION_SECONDS = 0.15
MAX_STATUS_RATIO = 1.4
JOB = NewJob(id="job", payload={"image": "a.png", "prompt": "a slow push-in"}, fingerprint="f")


def run(options: Namespace, folder: Path) -> Iterator[Table | Goal]:
    """Measure, and yield what is printed."""
    reelqueue = str(Path(sys.executable).parent / "reelqueue")
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        LIBRARIES: [sys.executable, "-c", LIBRARIES],
        VERSION: [reelqueue, "--version"],
        STATUS: [reelqueue, "status", JOB.id],
    }
    costs: dict[str, list[CommandCost]] = {name: [] for name in commands}
    with valkey_in_memory(folder / "valkey") as valkey, valkey.client() as redis:
        Ledger(redis, "rq", lease_seconds=30).submit(JOB)
        env = {"REDIS_URL": valkey.url, "REELQUEUE_MEDIA_URL": (folder / "media").as_uri()}
        for _ in range(options.rounds + 1):
            for name, command in commands.items():
                costs[name].append(run_measured(command, env))
    table = Table("command", "seconds", "CPU seconds")
    for name, (_, *found) in costs.items():
        seconds, cpu = (median(getattr(cost, of) for cost in found) for of in ("seconds", "cpu"))
        table.add_row(name, f"{seconds:.3f}", f"{cpu:.3f}")
    yield table
    yield Goal(
        f"seconds of {VERSION}",
        median(cost.seconds for cost in costs[VERSION][1:]),
        MAX_VERSION_SECONDS,
    )
    pairs = zip(costs[STATUS][1:], costs[LIBRARIES][1:], strict=True)
    ratio = median(ours.cpu / theirs.cpu for ours, theirs in pairs)
    yield Goal(f"CPU of {STATUS}, times the import of its libraries", ratio, MAX_STATUS_RATIO)
