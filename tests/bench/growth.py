"""What a job costs while more and more jobs wait: CPU time, memory, the ticker, late polls.

For each number of jobs it starts a Valkey, the backend and a worker, submits them all, and measures
while some of them end. A tick is timed beside the worker's own. Prints the table, and draws the
plot if `--svg` names a file.
"""

import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from celery import Celery
from pydantic import SecretStr
from rich.table import Table

from config.celery import celery_config
from config.settings import RedisSettings, Settings
from tests.bench.backend.stack import BenchStack, bench_stack
from tests.bench.report.plot import growth_svg
from tests.support.costs import tree_memory
from tests.support.ledger_access import submit_many
from tests.support.stack import TOKEN
from tests.support.waiting import wait_until
from worker.broker.transport import TRANSPORT
from worker.ledger.model.states import State
from worker.ledger.model.submissions import NewJob
from worker.runtime.runtime import Runtime
from worker.runtime.ticker import Ticker

OPTIONS = {
    "jobs": ("100,1000,10000", "numbers of jobs, separated by commas"),
    "ended": (400, "jobs that end before it stops; it measures after a quarter of them"),
    "slots": (50, "jobs that run at the same time"),
    "poll_seconds": (1.0, "interval of the polls of a render"),
    "clip": ("flat", "the clip: flat, busy, small, or the path of a file"),
    "svg": (None, "the file of the plot (default: none)"),
}
TICKS = 20
CPU, WORKER, VALKEY = "CPU ms a job", "MB of the worker", "KB in Valkey a job"
TICK, LATE = "ms of a tick, median", "seconds that polls are late, 99 %"


def run(options: Namespace, _folder: Path) -> Iterator[Table]:
    """Measure, and yield what is printed."""
    numbers = [int(number) for number in options.jobs.split(",")]
    found = {number: measure(number, options) for number in numbers}
    table = Table("jobs", *next(iter(found.values())))
    for number, figures in found.items():
        table.add_row(f"{number:,}", *(f"{figure:.1f}" for figure in figures.values()))
    yield table
    if options.svg:
        panels = {
            what: [(number, figures[what]) for number, figures in found.items()]
            for what in (CPU, WORKER, TICK, LATE)
        }
        options.svg.write_text(growth_svg(panels, "jobs that wait"), encoding="utf-8")


def measure(number: int, options: Namespace) -> dict[str, float]:
    """Submit a number of jobs, and measure while some of them end."""
    with bench_stack() as stack:
        stack.start_backend("--clip", options.clip, "--rendering-polls", "1")
        submit_many(stack.ledger, jobs(stack, number))
        memory: Any = stack.redis.info("memory")
        stack.allow_in_flight(options.slots)
        worker = stack.start_worker(
            *("-c", str(options.slots)),
            REELQUEUE_ACCOUNT_IN_FLIGHT=str(options.slots),
            REELQUEUE_RENDER_POLL_SECONDS=str(options.poll_seconds),
        )
        warm_up = min(options.ended, number) // 4
        wait_until_ended(stack, warm_up)
        before, begun = stack.cpu(worker), ended(stack)
        wait_until_ended(stack, min(options.ended, number))
        cpu, count = stack.cpu(worker).since(before), ended(stack) - begun
        late = sorted(gap - options.poll_seconds for gap in stack.backend.counts()["gaps"])
        return {
            CPU: 1000 * cpu.worker / count,
            WORKER: tree_memory(worker.pid) / 1e6,
            VALKEY: memory["used_memory"] / number / 1000,
            TICK: tick_ms(stack, options.slots),
            LATE: max(0.0, late[int(len(late) * 0.99)]),
        }


def jobs(stack: BenchStack, number: int) -> Iterator[NewJob]:
    """Make jobs of one image, each with a prompt of its own."""
    image = stack.image()
    for job in range(number):
        payload = {"image": str(image), "prompt": f"slow push-in on product {job}"}
        yield NewJob(id=f"job-{job}", payload=payload, fingerprint=str(job))


def ended(stack: BenchStack) -> int:
    """Return how many jobs have succeeded; none may have failed or be held."""
    counts = stack.ledger.counts()[0]
    assert not {State.FAILED, State.HELD} & counts.keys(), counts
    return counts.get(State.SUCCEEDED, 0)


def wait_until_ended(stack: BenchStack, number: int) -> None:
    """Wait until so many jobs have succeeded."""
    wait_until(lambda: ended(stack) >= number, f"{number} jobs to end", 1800)


def tick_ms(stack: BenchStack, slots: int) -> float:
    """Return the median duration of a tick, in milliseconds, of a ticker in this process."""
    settings = Settings(
        redis=RedisSettings(url=SecretStr(stack.valkey.url)),
        api={"tokens": (TOKEN,)},
        limits={"account_in_flight": slots},
    )
    found = []
    with Celery() as app:
        app.config_from_object(celery_config(settings))
        app.conf.broker_transport = TRANSPORT
        ticker = Ticker(app, Runtime.open(settings))
        for _ in range(TICKS):
            began = time.perf_counter()
            ticker.tick()
            found.append(1000 * (time.perf_counter() - began))
    return median(found)
