"""What a large manifest costs on the command line: ``python -m tests.bench.submit``.

Starts a Valkey, writes a manifest whose rows show one picture file under prompts of their own, and
runs ``reelqueue`` on it as a user does: each line of the table is a process of its own, with its
start in the seconds, what it and the server worked of them, and the largest size that it reached.
``--pictures`` parts the rows among so many different files, each of which must be read, and copied
into the media store at first.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image
from rich.console import Console
from rich.table import Table

from tests.support.processes import ROOT
from tests.support.valkey import Valkey

PROMPT: Final = "Slow push-in on {name}, 6 seconds"
BYTES_OF_MAXRSS: Final = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command said; its seconds from start to end, and those of its CPU; its largest size.

    The size is in bytes.
    """

    said: dict[str, Any]
    seconds: float
    cpu: float
    size: int


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--pictures", type=int, default=1)
    parser.add_argument("--form", choices=("csv", "jsonl"), default="csv")
    asked = parser.parse_args()
    table = Table("command", "rows", "seconds", "its CPU", "Valkey's CPU", "MB at most")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reelqueue-bench-")))
        valkey = Valkey(folder / "valkey").start()
        stack.callback(valkey.stop)
        env = {"REDIS_URL": valkey.url, "REELQUEUE_MEDIA_URL": (folder / "media").as_uri()}
        manifest = folder / f"jobs.{asked.form}"
        write(manifest, asked.rows, asked.pictures)

        def run(what: str, counted: str, *command: object) -> dict[str, Any]:
            before = seconds_of(valkey)
            cost = measure([*map(str, command), "--json"], env)
            rows = f"{cost.said[counted]:,}" if counted else ""
            times = (cost.seconds, cost.cpu, seconds_of(valkey) - before)
            table.add_row(what, rows, *(f"{time:.1f}" for time in times), f"{cost.size / 1e6:.0f}")
            return cost.said

        submit = ("batch", "submit", manifest, "--prompt", PROMPT)
        run("batch submit --dry-run", "good", *submit, "--dry-run")
        batch = run("batch submit", "jobs", *submit)["batch_id"]
        with valkey.client() as redis:
            memory: Any = redis.info("memory")
            disk: Any = redis.info("persistence")
        run("batch submit, again", "duplicates", *submit)
        run("batch pause", "", "batch", "pause", batch)
        run("batch resume", "", "batch", "resume", batch)
        run("cancel", "changed", "cancel", batch)
    console = Console(width=100)
    console.print(table)
    for what, size in (("memory", memory["used_memory"]), ("file", disk["aof_current_size"])):
        console.print(f"Valkey's {what}: {size / 1e6:.0f} MB, {size / asked.rows:,.0f} bytes a row")


def seconds_of(valkey: Valkey) -> float:
    """The CPU seconds that a server has worked."""
    with valkey.client() as redis:
        used: Any = redis.info("cpu")
    return float(used["used_cpu_user"] + used["used_cpu_sys"])


def measure(command: list[str], env: dict[str, str]) -> Cost:
    """Run a command of ``reelqueue`` as a process of its own."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "tasks.cli", *command],
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with process.stdout as output:
        said = output.read()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"reelqueue {' '.join(command)} ended with {process.returncode}")
    cpu = used.ru_utime + used.ru_stime
    return Cost(json.loads(said), seconds, cpu, used.ru_maxrss * BYTES_OF_MAXRSS)


def write(manifest: Path, rows: int, pictures: int = 1) -> None:
    """A CSV or JSONL of so many rows beside so many different pictures."""
    for number in range(pictures):
        colour = (number >> 16, number >> 8 & 255, number & 255)
        Image.new("RGB", (64, 48), colour).save(manifest.parent / f"photo-{number}.png")
    shown = ((f"photo-{row % pictures}.png", f"product {row}") for row in range(rows))
    with manifest.open("w", encoding="utf-8") as file:
        if manifest.suffix == ".csv":
            file.write("image,name\n")
            file.writelines(f"{image},{name}\n" for image, name in shown)
        else:
            file.writelines(f'{{"image":"{image}","name":"{name}"}}\n' for image, name in shown)


if __name__ == "__main__":
    main()
