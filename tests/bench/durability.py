"""What `appendfsync always` costs beside `everysec`, in submissions a second and per job.

Starts a Valkey on disk twice, submits jobs in three ways, and then lets a worker make clips with
the stand-in. With `everysec` the worker needs ``REELQUEUE_DURABILITY=journal`` to pay.
"""

import shutil
import statistics
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Final

from rich.table import Table

from tests.support.ledger_access import submit_many
from tests.support.stack import LEASE_SECONDS, Stack
from worker.ledger.ledger import Ledger
from worker.ledger.model.states import State
from worker.ledger.model.submissions import NewJob

OPTIONS = {
    "submissions": (4000, "submissions in each of the ways"),
    "clients": (16, "clients that submit at the same time"),
    "jobs": (200, "jobs that a worker ends at the same time"),
    "single_jobs": (5, "jobs that it ends one after another"),
}
MODES: Final = {"always": "fsync", "everysec": "journal"}
"""The value of REELQUEUE_DURABILITY with which a worker pays, by that of appendfsync."""


def run(options: Namespace, folder: Path) -> Iterator[Table]:
    """Measure both modes, and yield the table."""
    figures = {mode: list(measure(options, folder / mode, mode)) for mode in MODES}
    table = Table("measure", *MODES, "always : everysec")
    for (name, always), (_, everysec) in zip(*figures.values(), strict=True):
        table.add_row(name, f"{always:,.1f}", f"{everysec:,.1f}", f"{always / everysec:.2f}")
    yield table


def measure(options: Namespace, folder: Path, mode: str) -> Iterator[tuple[str, float]]:
    """Yield each measure's name and its figure."""
    folder.mkdir()
    with ExitStack() as resources:
        stack = Stack(folder, resources, on_disk=True)
        stack.redis.config_set("appendfsync", mode)
        # No worker of the namespace takes these.
        ledger = Ledger(stack.redis, "bench", lease_seconds=LEASE_SECONDS)
        numbers = count()

        def new_job() -> NewJob:
            number = next(numbers)
            fields = {"image": f"photo-{number}.png", "prompt": "a slow push-in, 6 seconds"}
            return NewJob(id=f"job-{number}", payload=fields, fingerprint=str(number))

        def submit_one(_: object = None) -> None:
            ledger.submit(new_job())

        def one_after_another() -> None:
            for _ in range(options.submissions):
                submit_one()

        def at_the_same_time() -> None:
            with ThreadPoolExecutor(options.clients) as clients:
                list(clients.map(submit_one, range(options.submissions)))

        def in_pages() -> None:
            submit_many(ledger, (new_job() for _ in range(options.submissions)))

        for name, submit in {
            "submissions/s, one client": one_after_another,
            f"submissions/s, {options.clients} clients": at_the_same_time,
            "submissions/s, in pages as of a manifest": in_pages,
        }.items():
            yield name, options.submissions / seconds(submit)
        stack.start_sandbox()
        stack.start_worker(REELQUEUE_DURABILITY=MODES[mode])
        stack.allow_in_flight(50)
        yield from jobs(options, stack)
    shutil.rmtree(folder)


def jobs(options: Namespace, stack: Stack) -> Iterator[tuple[str, float]]:
    """Yield how long jobs take that run alone, and how long each of many takes."""

    def end_one() -> None:
        stack.wait_for(stack.submit(stack.image()), State.SUCCEEDED)

    def end_many() -> None:
        for _ in range(options.jobs):
            stack.submit(stack.image())
        stack.wait_until_idle()

    end_one()
    alone = [seconds(end_one) for _ in range(options.single_jobs)]
    yield "ms from submission to clip, a job alone (median)", 1000 * statistics.median(alone)
    name = f"ms a job, {options.jobs} at the same time"
    yield name, 1000 * seconds(end_many) / options.jobs


def seconds(work: Callable[[], None]) -> float:
    """Return how long a function takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began
