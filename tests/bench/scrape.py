"""What a scrape of metrics costs with few and with many waiting jobs.

Prints the median of many scrapes against a real server, without HTTP, with 10 jobs in the backlog
and with ``--jobs``. Their ratio should be 1.
"""

import statistics
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr
from rich.table import Table

from config.settings import RedisSettings, Settings
from tests.support.ledger_access import submit_many
from tests.support.valkey import Valkey
from worker.ledger.model.submissions import NewJob
from worker.runtime.runtime import Runtime
from worker.telemetry.metrics_server import metrics_registry, scrape_clients

OPTIONS = {"jobs": (100_000, "waiting jobs in the second measurement")}
FEW = 10
SCRAPES = 200


def run(options: Namespace, folder: Path) -> Iterator[Table]:
    """Measure, and yield what is printed."""
    table = Table("jobs waiting", "median of a scrape, ms", "ratio")
    server = Valkey(folder).start()
    try:
        runtime = Runtime.open(Settings(redis=RedisSettings(url=SecretStr(server.url))))
        first = 0.0
        for present, total in (0, FEW), (FEW, options.jobs):
            submit_many(runtime.ledger, jobs(present, total))
            seconds = median(runtime)
            first = first or seconds
            table.add_row(f"{total:,}", f"{seconds * 1000:.2f}", f"{seconds / first:.2f}")
    finally:
        server.stop()
    yield table


def jobs(present: int, total: int) -> Iterator[NewJob]:
    """Make the jobs that are missing to a total."""
    for number in range(present, total):
        yield NewJob(id=f"j{number}", payload={"image": "a.jpg"}, fingerprint="f")


def median(runtime: Runtime) -> float:
    """Return the median seconds of a scrape."""
    registry, found = metrics_registry(runtime, *scrape_clients(runtime.settings)), []
    for _ in range(SCRAPES):
        start = time.perf_counter()
        list(registry.collect())
        found.append(time.perf_counter() - start)
    return statistics.median(found)
