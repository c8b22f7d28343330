"""What the results of a large batch cost on the command line, as JSON lines and as a table.

A worker makes one clip against the lean backend. Its record is then copied under other ids into the
same batch, and `reelqueue results` writes all of them, each time as a process of its own. A second
table shows where the time of a record goes, the least of several runs.
"""

import io
import time
from argparse import Namespace
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from csv import reader
from pathlib import Path
from typing import Any

from rich.table import Table

from tasks.reports.export import write_csv, write_jsonl
from tasks.schema.result import SHOWN_FACTS, result_of
from tests.bench.backend.stack import BenchStack, bench_stack
from tests.bench.report.goals import Goal
from tests.bench.submit import REELQUEUE, cpu_seconds
from tests.support.costs import run_measured
from tests.support.waiting import wait_until
from worker.ledger.model.jobs import ONE_TURN_FIELDS
from worker.ledger.model.states import State
from worker.ledger.model.submissions import NewJob
from worker.ledger.pages import pages
from worker.storage.store import Store

OPTIONS = {
    "jobs": (100_000, "jobs of the batch"),
    "formats": ("jsonl,csv", "jsonl, csv or both, separated by commas"),
}
MAX_SECONDS = 5.0
BATCH, FIRST = "b", "job-0"
SAMPLE, ROUNDS = 1000, 5
"""The rows whose parts are measured, and how often."""


def run(options: Namespace, folder: Path) -> Iterator[Table | Goal]:
    """Measure, and yield what is printed."""
    table = Table("format", "seconds", "its CPU", "Valkey's CPU", "MB at most", "MB written")
    goals = []
    with bench_stack() as stack:
        make_clip(stack)
        copy_record(stack, options.jobs)
        for form in options.formats.split(","):
            before, target = cpu_seconds(stack.valkey), folder / f"results.{form}"
            words = ("results", BATCH, "--format", form, "-o", str(target))
            cost = run_measured([*REELQUEUE, *words], stack.env)
            used = cpu_seconds(stack.valkey) - before
            figures = (cost.seconds, cost.cpu, used, cost.size / 1e6, target.stat().st_size / 1e6)
            table.add_row(form, *(f"{figure:.1f}" for figure in figures))
            assert counted(target) == options.jobs
            what = f"seconds of `results --format {form}`, {options.jobs:,} jobs"
            goals.append(Goal(what, cost.seconds, MAX_SECONDS))
        shares = parts(stack)
    yield table
    yield shares
    yield from goals


def parts(stack: BenchStack) -> Table:
    """Measure the parts of the command in this process, without the writing of its file."""
    ledger, output = stack.ledger, Store(stack.env["REELQUEUE_OUTPUT_URL"])
    found: Any = ledger.redis.zrange(ledger.key("rows", BATCH), 0, SAMPLE - 1, withscores=True)
    rows = list(pages(found))
    names = (*ONE_TURN_FIELDS, *SHOWN_FACTS)
    calls = [(len(names), *names, *(member for member, _ in page)) for page in rows]
    jobs = [job for page in ledger.row_jobs(rows, SHOWN_FACTS) for job in page]
    results = [result_of(job, output) for job in jobs]
    measured = {
        "receive the fields": lambda: exhaust(ledger.scripts.run_pipelined("row_records", calls)),
        "receive them, and read the jobs": lambda: exhaust(ledger.row_jobs(rows, SHOWN_FACTS)),
        "make the results": lambda: exhaust(result_of(job, output) for job in jobs),
        "write them as JSON": lambda: write_jsonl(results, io.StringIO()),
        "write them as CSV": lambda: write_csv(("sku",), results, io.StringIO()),
    }
    table = Table("part", "CPU microseconds a record")
    for part, do in measured.items():
        table.add_row(part, f"{1e6 * least_cpu(do) / len(jobs):.1f}")
    return table


def exhaust(values: Iterable[object]) -> None:
    """Take each value and keep none, as the command does."""
    deque(values, maxlen=0)


def least_cpu(do: Callable[[], object]) -> float:
    """Return the CPU seconds of the fastest of several runs."""
    spent = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        do()
        spent.append(time.thread_time() - began)
    return min(spent)


def counted(path: Path) -> int:
    """Return how many jobs a file holds."""
    with path.open(encoding="utf-8", newline="") as file:
        return sum(1 for _ in file) if path.suffix == ".jsonl" else sum(1 for _ in reader(file)) - 1


def make_clip(stack: BenchStack) -> None:
    """Let a worker end a batch of one job."""
    stack.start_backend()
    ledger = stack.ledger
    ledger.open_batch(BATCH, "bench", ledger.now_ms())
    payload = {"image": str(stack.image()), "prompt": "slow push-in", "data": {"sku": "A-00001"}}
    ledger.submit(NewJob(id=FIRST, payload=payload, fingerprint="f", batch_id=BATCH, row=1))
    ledger.seal_batch(BATCH)
    worker = stack.start_worker(REELQUEUE_RENDER_POLL_SECONDS="0.2")
    stack.wait_for(FIRST, State.SUCCEEDED)
    wait_until(lambda: not stack.redis.exists(ledger.key("outbox")), "the notifications")
    worker.terminate()
    worker.wait()


def copy_record(stack: BenchStack, number: int) -> None:
    """Copy the record of the first job, until the batch has a number of rows."""
    ledger = stack.ledger
    record: Any = stack.redis.hgetall(ledger.key("job", FIRST))
    for page in pages(range(2, number + 1)):
        with stack.redis.pipeline(transaction=False) as pipe:
            for row in page:
                job_id = f"00000000-0000-4000-8000-{row:012}"
                pipe.hset(
                    ledger.key("job", job_id), mapping={**record, "id": job_id, "row": str(row)}
                )
                pipe.zadd(ledger.key("rows", BATCH), {job_id: row})
            pipe.execute()
