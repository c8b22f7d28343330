"""What a job costs this service, a bare script, and Celery without durability, side by side.

All make the same calls to a backend that answers immediately, for the same number of images, and
look at each clip. The script is gevent and httpx alone; the Celery tasks do all calls of a job and
survive nothing. The CPU time is that of the worker with its threads and its children, what it does
beside the jobs included; Valkey and the backend share the machine's processors with it.
"""

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

from rich.table import Table

from tests.bench.alternatives.runs import Load, Run, run_celery, run_script, run_service
from tests.bench.backend.clips import KINDS
from tests.bench.backend.stack import bench_stack
from tests.bench.report.goals import Goal

OPTIONS = {
    "jobs": (300, "jobs of each run"),
    "warm_up": (20, "jobs that are run before"),
    "slots": (300, "jobs that run at the same time"),
    "processes": (8, "processes of Celery's prefork pool"),
    "poll_seconds": (0.5, "interval of the polls of a render"),
    "stream_seconds": (0.0, "duration of a message's stream"),
    "rounds": (1, "runs of each kind; their medians are shown"),
    "clip": ("flat", f"the clip: {', '.join(KINDS)}, or the path of a file"),
}
SERVICE, SCRIPT = "this service", "gevent + httpx script"
MAX_RATIO = 2.2
LIMITS = {"Redis commands": 150, "script calls": 15, "publishes": 8}
CPU = "CPU ms of the worker"
FIGURES = {
    CPU: ".1f",
    "CPU ms of Valkey": ".1f",
    "CPU ms of the backend": ".1f",
    "Redis commands": ".0f",
    "script calls": ".1f",
    "publishes": ".1f",
    "connections opened": ".2f",
    "jobs/s": ".1f",
    "MB of memory at most": ".0f",
}
"""The rows of the table, and how their figures are shown."""


def run(options: Namespace, _folder: Path) -> Iterator[Table | Goal]:
    """Measure, and yield what is printed."""
    rounds = [measure(options) for _ in range(options.rounds)]
    found = {name: middle([figures[name] for figures in rounds]) for name in rounds[0]}
    least = found[SCRIPT][CPU]
    table = Table("a job", *found)
    for what, form in FIGURES.items():
        figures = (figures.get(what) for figures in found.values())
        table.add_row(what, *("" if figure is None else f"{figure:{form}}" for figure in figures))
    times = [figures[CPU] / least for figures in found.values()]
    table.add_row("CPU, times the script's", *(f"{ratio:.2f}" for ratio in times))
    yield table
    yield Goal("CPU a job, times the script's", found[SERVICE][CPU] / least, MAX_RATIO)
    for what, most in LIMITS.items():
        yield Goal(f"{what} a job", found[SERVICE][what], most)


def measure(options: Namespace) -> dict[str, dict[str, float]]:
    """Run the jobs in every way."""
    load = Load(options.jobs, options.warm_up, options.slots, options.poll_seconds)
    with bench_stack() as stack:
        flags = ("--clip", options.clip, "--stream-seconds", str(options.stream_seconds))
        stack.start_backend(*flags)
        runs = {
            SCRIPT: run_script(stack, load),
            "Celery, gevent": run_celery(stack, load, "gevent", options.slots),
            "Celery, prefork": run_celery(stack, load, "prefork", options.processes),
            SERVICE: run_service(stack, load),
        }
    return {name: figures_of(run, options.jobs) for name, run in runs.items()}


def figures_of(run: Run, jobs: int) -> dict[str, float]:
    """Return the figures of a run, most of them a job."""
    used = run.cpu
    figures = {
        CPU: 1000 * used.worker / jobs,
        "CPU ms of the backend": 1000 * used.backend / jobs,
        "jobs/s": jobs / run.seconds,
        "MB of memory at most": run.memory / 1e6,
    }
    if run.redis is None:
        return figures
    cost = run.redis.per(jobs)
    return {
        **figures,
        "CPU ms of Valkey": 1000 * used.valkey / jobs,
        "Redis commands": cost.commands,
        "script calls": cost.scripts,
        "publishes": cost.publishes,
        "connections opened": cost.connections,
    }


def middle(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of each figure."""
    return {what: median(found[what] for found in figures) for what in figures[0]}
