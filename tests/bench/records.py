"""Bytes of Redis that a job takes, from waiting to tombstone: ``python -m tests.bench.records``.

Real jobs through a worker and the stand-in. Each figure is what the server itself says of the
keys of a kind (``MEMORY USAGE``), divided by the jobs: the record, its idempotency key, its file
name, and its places in the indexes. Celery's own results expire by themselves and are left out.
"""

import argparse
from typing import Any

from rich.console import Console
from rich.table import Table

from tasks.producer.submissions import new_job
from tasks.schema.image_job import ImageJob
from tests.integration.conftest import House, passing_house
from tests.support.ledger_access import submit_many
from tests.support.waiting import wait_until
from worker.runtime.retention import prune

KINDS = ("job", "idem", "names", "jobs", "rows")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100)
    jobs: int = parser.parse_args().jobs
    table = Table("bytes of a job", *KINDS, "in all")
    with passing_house() as house:
        house.open_sandbox()
        redis: Any = house.redis
        house.ledger.open_batch("b", "bench", house.ledger.now_ms())
        submit_many(
            house.ledger, (new_job(job(house, n), batch_id="b", row=n) for n in range(jobs))
        )
        house.ledger.seal_batch("b")
        row(table, "that waits", redis, jobs)
        house.start_worker()
        house.settled()
        wait_until(lambda: not redis.zcard("outbox:{rq}"), "the outbox to empty")
        house.workers[0].stop()
        row(table, "with its clip", redis, jobs)
        prune(house.ledger, house.ledger.now_ms() + 1)
        row(table, "that was pruned: its key", redis, jobs)
    Console(width=100).print(table)


def job(house: House, number: int) -> ImageJob:
    """A job as a catalog brings it."""
    return ImageJob(
        image=str(house.image(f"product-{number:05}.png")),
        prompt=f"A 1-second slow push-in on product {number}, soft light, calm music",
        key=f"catalog-2026:product-{number:05}",
        data={"sku": f"A-{number:05}", "name": "Blue mug"},
    )


def row(table: Table, what: str, redis: Any, jobs: int) -> None:
    """One line: each kind of key, and their sum."""
    sizes = [
        sum(redis.memory_usage(key, samples=0) or 0 for key in redis.scan_iter(f"{kind}:{{rq}}*"))
        for kind in KINDS
    ]
    table.add_row(what, *(f"{size / jobs:,.0f}" for size in (*sizes, sum(sizes))))


if __name__ == "__main__":
    main()
