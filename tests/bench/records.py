"""How many bytes of Redis a job takes, from waiting to pruned.

Real jobs run through a worker and the stand-in. Each figure is what the server reports for the
keys of a kind (``MEMORY USAGE``), divided by the jobs: the record, its idempotency key, its file
name, and its entries in the indexes. Celery's own results expire by themselves and are left out.
"""

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from tasks.producer.submissions import new_job
from tasks.schema.image_job import ImageJob
from tests.support.ledger_access import submit_many
from tests.support.stack import Stack, temporary_stack
from tests.support.waiting import wait_until
from worker.runtime.retention import prune

OPTIONS = {"jobs": (100, "jobs to run")}
KINDS = ("job", "idem", "names", "jobs", "rows")


def run(options: Namespace, _folder: Path) -> Iterator[Table]:
    """Measure, and yield what is printed."""
    count = options.jobs
    table = Table("bytes of a job", *KINDS, "in all")
    with temporary_stack() as stack:
        stack.start_sandbox()
        redis: Any = stack.redis
        stack.ledger.open_batch("b", "bench", stack.ledger.now_ms())
        jobs = (new_job(job(stack, n), batch_id="b", row=n) for n in range(count))
        submit_many(stack.ledger, jobs)
        stack.ledger.seal_batch("b")
        table.add_row("waiting", *sizes(redis, count))
        stack.start_worker()
        stack.wait_until_idle()
        wait_until(lambda: not redis.zcard("outbox:{rq}"), "the outbox to empty")
        stack.workers[0].stop()
        table.add_row("with its clip", *sizes(redis, count))
        prune(stack.ledger, stack.ledger.now_ms() + 1)
        table.add_row("pruned, only its key is left", *sizes(redis, count))
    yield table


def job(stack: Stack, number: int) -> ImageJob:
    """Return a job like one of a catalog."""
    return ImageJob(
        image=str(stack.image(f"product-{number:05}.png")),
        prompt=f"A 1-second slow push-in on product {number}, soft light, calm music",
        key=f"catalog-2026:product-{number:05}",
        data={"sku": f"A-{number:05}", "name": "Blue mug"},
    )


def sizes(redis: Any, count: int) -> Iterator[str]:
    """Return the bytes per job of each kind of key, and their sum."""
    found = [
        sum(redis.memory_usage(key, samples=0) or 0 for key in redis.scan_iter(f"{kind}:{{rq}}*"))
        for kind in KINDS
    ]
    return (f"{size / count:,.0f}" for size in (*found, sum(found)))
