"""What a scrape of metrics costs with few and many jobs waiting: ``python -m tests.bench.scrape``.

The figures of the service over the wire to a real server, without HTTP: the median of many scrapes
with 10 jobs in the backlog, and with ``--jobs``; their ratio should be 1.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from config.settings import RedisSettings, Settings
from tests.support.ledger_access import submit_many
from tests.support.valkey import Valkey
from worker.ledger.model.submissions import NewJob
from worker.runtime.runtime import Runtime
from worker.telemetry.metrics_server import metrics_registry

FEW = 10
SCRAPES = 200


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    many: int = parser.parse_args().jobs
    table = Table("jobs waiting", "median of a scrape, ms", "ratio")
    with tempfile.TemporaryDirectory(prefix="reelqueue-bench-") as folder:
        server = Valkey(Path(folder)).start()
        try:
            settings = Settings(redis=RedisSettings(url=SecretStr(server.url)))
            runtime = Runtime.open(settings)
            first = 0.0
            for have, want in (0, FEW), (FEW, many):
                submit_many(runtime.ledger, jobs(have, want))
                took = median(runtime)
                first = first or took
                table.add_row(f"{want:,}", f"{took * 1000:.2f}", f"{took / first:.2f}")
        finally:
            server.stop()
    Console(width=100).print(table)


def jobs(have: int, want: int) -> Iterator[NewJob]:
    """As many as are missing."""
    for number in range(have, want):
        yield NewJob(id=f"j{number}", payload={"image": "a.jpg"}, fingerprint="f")


def median(runtime: Runtime) -> float:
    """Seconds of a scrape."""
    registry, took = metrics_registry(runtime), []
    for _ in range(SCRAPES):
        start = time.perf_counter()
        list(registry.collect())
        took.append(time.perf_counter() - start)
    return statistics.median(took)


if __name__ == "__main__":
    main()
