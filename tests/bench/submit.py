"""What a large manifest costs on the command line.

Starts a Valkey, writes a manifest whose rows have one picture file and different prompts, and runs
``reelqueue`` on it. Each row of the table is a process of its own: its duration with its start,
the CPU seconds of the process and of the server, and its largest size. ``--pictures`` spreads the
rows over that many different files, each of which must be read and copied into the media store.
Before and after the submission, redis-py alone writes as many rows to the same server.
"""

import json
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from PIL import Image
from redis import Redis
from rich.table import Table

from tests.bench.report.goals import Goal
from tests.support.costs import run_measured
from tests.support.valkey import Valkey
from tests.support.waiting import wait_until

OPTIONS = {
    "rows": (100_000, "rows of the manifest"),
    "pictures": (1000, "different picture files of the rows"),
    "form": ("csv", "form of the manifest: csv or jsonl"),
}
PROMPT: Final = "Slow push-in on {name}, 6 seconds"
MIN_RATIO: Final = 0.6
REELQUEUE: Final = (sys.executable, "-m", "tasks.cli")


def run(options: Namespace, folder: Path) -> Iterator[Table | str | Goal]:
    """Measure, and yield what is printed."""
    table = Table("command", "rows", "seconds", "its CPU", "Valkey's CPU", "MB at most")
    valkey = Valkey(folder / "valkey").start()
    try:
        memory, disk, ratio = fill(table, options, valkey, folder)
    finally:
        valkey.stop()
    yield table
    for what, size in (("memory", memory), ("file", disk)):
        yield f"Valkey's {what}: {size / 1e6:.0f} MB, {size / options.rows:,.0f} bytes a row"
    yield Goal("rows/s of batch submit, times those of redis-py", ratio, MIN_RATIO, is_least=True)


def fill(table: Table, options: Namespace, valkey: Valkey, folder: Path) -> tuple[int, int, float]:
    """Run each command, and add its row.

    Returns:
        The bytes of the server's memory and file, and the rows that are submitted in a second as a
        multiple of those that redis-py writes.
    """
    env = {"REDIS_URL": valkey.url, "REELQUEUE_MEDIA_URL": (folder / "media").as_uri()}
    manifest = folder / f"jobs.{options.form}"
    write_manifest(manifest, options.rows, options.pictures)

    def add(what: str, counted: str, *command: object) -> dict[str, Any]:
        before = cpu_seconds(valkey)
        cost = run_measured([*REELQUEUE, *map(str, command), "--json"], env)
        output: dict[str, Any] = json.loads(cost.output)
        rows = f"{output[counted]:,}" if counted else ""
        times = (cost.seconds, cost.cpu, cpu_seconds(valkey) - before)
        table.add_row(what, rows, *(f"{time:.1f}" for time in times), f"{cost.size / 1e6:.0f}")
        return output

    submit = ("batch", "submit", manifest, "--prompt", PROMPT)
    add("batch submit --dry-run", "good", *submit, "--dry-run")
    before = raw_seconds(table, options.rows, valkey)
    with valkey.client() as redis:
        redis.flushall()
        redis.bgrewriteaof()
        wait_until(lambda: not persistence(redis)["aof_rewrite_in_progress"], "the new file")
        began = time.monotonic()
        batch = add("batch submit", "jobs", *submit)["batch_id"]
        seconds = time.monotonic() - began
        memory: Any = redis.info("memory")
        disk = persistence(redis)["aof_current_size"]
    ratio = (before + raw_seconds(table, options.rows, valkey)) / 2 / seconds
    add("batch submit, again", "duplicates", *submit)
    add("batch pause", "", "batch", "pause", batch)
    add("batch resume", "", "batch", "resume", batch)
    add("cancel", "changed", "cancel", batch)
    return memory["used_memory"], disk, ratio


def raw_seconds(table: Table, rows: int, valkey: Valkey) -> float:
    """Write rows with redis-py alone, add its row to the table, and return the seconds."""
    before = cpu_seconds(valkey)
    command = [sys.executable, "-m", "tests.bench.alternatives.raw_rows", valkey.url, str(rows)]
    spent: dict[str, float] = json.loads(run_measured(command, {}).output)
    times = (spent["seconds"], spent["cpu"], cpu_seconds(valkey) - before)
    table.add_row("redis-py alone", f"{rows:,}", *(f"{time:.1f}" for time in times), "")
    return spent["seconds"]


def persistence(redis: Redis) -> dict[str, Any]:
    """Return what a server says about its file."""
    found: Any = redis.info("persistence")
    return dict(found)


def cpu_seconds(valkey: Valkey) -> float:
    """Return the CPU seconds that a server has used."""
    with valkey.client() as redis:
        used: Any = redis.info("cpu")
    return float(used["used_cpu_user"] + used["used_cpu_sys"])


def write_manifest(manifest: Path, rows: int, pictures: int = 1) -> None:
    """Write a CSV or JSONL manifest and its different pictures."""
    for number in range(pictures):
        color = (number >> 16, number >> 8 & 255, number & 255)
        Image.new("RGB", (80, 64), color).save(manifest.parent / f"photo-{number}.png")
    shown = ((f"photo-{row % pictures}.png", f"product {row}") for row in range(rows))
    with manifest.open("w", encoding="utf-8") as file:
        if manifest.suffix == ".csv":
            file.write("image,name\n")
            file.writelines(f"{image},{name}\n" for image, name in shown)
        else:
            file.writelines(f'{{"image":"{image}","name":"{name}"}}\n' for image, name in shown)
