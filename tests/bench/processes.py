"""What several worker processes cost and do, compared with one.

Runs the same jobs with one process and with several under `reelqueue worker`, each with a Valkey
and a stand-in of its own, in turn. Prints the CPU time a job of the worker processes together; they
share the machine's processors with Valkey and the stand-in, and the least share of the jobs.
"""

import sys
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.table import Table

from tests.support.costs import tree_cpu_seconds
from tests.support.ledger_access import recent_ids
from tests.support.processes import Process
from tests.support.stack import Stack, temporary_stack
from tests.support.waiting import wait_until
from worker.ledger.model.states import State
from worker.runtime.worker_registry import node_names

OPTIONS = {
    "jobs": (400, "jobs of a run"),
    "processes": (2, "worker processes that are compared with one"),
    "slots": (400, "jobs that all processes together run at the same time"),
    "stream_seconds": (2.0, "duration of a message's stream"),
    "rounds": (1, "runs of each kind"),
}
LIMIT_RATIO = 1.2
LIMIT_SHARE = 0.4
"""The least share of the jobs of each of two processes."""


@dataclass(frozen=True, slots=True)
class Run:
    """CPU milliseconds a job, jobs a second, and the least share of the jobs of a process."""

    worker: float
    valkey: float
    stand_in: float
    rate: float
    least: float


def run(options: Namespace, _folder: Path) -> Iterator[Table | str]:
    """Measure, and yield what is printed."""
    kinds = (1, options.processes)
    runs: dict[int, list[Run]] = {number: [] for number in kinds}
    for _ in range(options.rounds):
        for number in kinds:
            runs[number].append(measure(number, options))
    table = Table("processes", "CPU ms a job", "Valkey", "stand-in", "jobs/s", "least share")
    for number in kinds:
        table.add_row(str(number), *(f"{middle(runs[number], name):.2f}" for name in Run.__slots__))
    yield table
    ratio = middle(runs[options.processes], "worker") / middle(runs[1], "worker")
    least = middle(runs[options.processes], "least")
    share = 2 * LIMIT_SHARE / options.processes
    yield f"CPU a job: {ratio:.2f} of one process (at most {LIMIT_RATIO})"
    yield f"least share of the jobs: {least:.0%} (at least {share:.0%})"


def middle(runs: list[Run], name: str) -> float:
    """Return the median of a figure."""
    return median(float(getattr(run, name)) for run in runs)


def measure(number: int, options: Namespace) -> Run:
    """Run the jobs with a number of processes."""
    with temporary_stack() as stack:
        stack.start_sandbox("--stream-seconds", str(options.stream_seconds))
        with workers(stack, number, options.slots) as process:
            stack.allow_in_flight(options.slots)
            assert stack.valkey.process is not None
            pids = (process.pid, stack.valkey.process.pid, stack.sandbox.process.pid)
            before, began = [tree_cpu_seconds(pid) for pid in pids], time.monotonic()
            for _ in range(options.jobs):
                stack.submit(stack.image())
            counts = stack.wait_until_idle(limit=3600)
            seconds = time.monotonic() - began
            spent = [tree_cpu_seconds(pid) - used for pid, used in zip(pids, before, strict=True)]
            assert counts == {State.SUCCEEDED: options.jobs}
            worker, valkey, stand_in = (1000 * used / options.jobs for used in spent)
            rate, least = options.jobs / seconds, least_share(stack, number)
            return Run(worker, valkey, stand_in, rate, least)


@contextmanager
def workers(stack: Stack, number: int, slots: int) -> Iterator[Process]:
    """Run worker processes until the end of the block."""
    env = {
        **stack.env,
        "REELQUEUE_ACCOUNT_IN_FLIGHT": str(slots),
        "REELQUEUE_TICK_SECONDS": "0.5",
        "REELQUEUE_LEASE_SECONDS": "30",
    }
    command = [sys.executable, "-m", "tasks.cli", "worker", "--processes", str(number)]
    process = Process([*command, "-c", str(slots // number)], stack.folder / "worker.log", env)
    try:
        wait_until(
            lambda: stack.redis.zcard("workers:{rq}") == number or not process.alive,
            "the workers",
            explain=process.text,
        )
        assert process.alive, process.text()
        yield process
    finally:
        process.terminate()
        process.wait()


def least_share(stack: Stack, number: int) -> float:
    """Return the share of the jobs whose last step the least busy process has run."""
    owners = [stack.job(job_id).fact("worker") for job_id in recent_ids(stack.ledger, 10**6)]
    counts = Counter(owner for owner in owners if owner in node_names(stack.ledger))
    assert len(counts) <= number
    return min(counts.values()) / len(owners) if len(counts) == number else 0.0
