"""How long a large manifest takes to submit, and how much memory: ``python -m tests.bench.submit``.

Starts a Valkey, writes a CSV whose rows show one picture file under prompts of their own, submits
it, pauses, cancels, and prints what each took, and the largest size that this process reached.
"""

import argparse
import resource
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from PIL import Image
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from config.settings import Settings
from tasks.batches import submit_batch
from tasks.manifest import read
from tasks.producer import Producer
from tests.support.valkey import Valkey


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    asked = parser.parse_args()
    table = Table("what", "figure")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reelqueue-bench-")))
        valkey = Valkey(folder / "valkey").start()
        stack.callback(valkey.stop)
        producer = Producer.open(
            Settings(redis_url=SecretStr(valkey.url), media_url=(folder / "media").as_uri())
        )
        stack.callback(producer.ledger.redis.close)
        manifest = folder / "jobs.csv"
        write(manifest, asked.rows)

        def timed(what: str, began: float) -> None:
            table.add_row(what, f"{time.monotonic() - began:.1f} s")

        began = time.monotonic()
        done = submit_batch(producer, read(manifest, "Slow push-in on {name}, 6 seconds"))
        timed(f"{done.jobs} rows submitted", began)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        table.add_row("largest size of this process", f"{peak:.0f} MB")
        began = time.monotonic()
        again = submit_batch(producer, read(manifest, "Slow push-in on {name}, 6 seconds"))
        timed(f"{again.duplicates} rows submitted again, {again.jobs} new", began)
        began = time.monotonic()
        producer.pause(done.batch_id)
        producer.resume(done.batch_id)
        timed("paused and resumed", began)
        began = time.monotonic()
        change = producer.cancel(done.batch_id)
        timed(f"{change.changed} jobs cancelled", began)
        used = producer.ledger.redis.info("memory")
        assert isinstance(used, dict)
        table.add_row("Valkey's memory", f"{used['used_memory'] / 1e6:.0f} MB")
    Console().print(table)


def write(manifest: Path, rows: int) -> None:
    """A CSV of so many rows beside one picture."""
    Image.new("RGB", (64, 48), (200, 80, 20)).save(manifest.parent / "photo.png")
    with manifest.open("w", encoding="utf-8") as file:
        file.write("image,name\n")
        file.writelines(f"photo.png,product {row}\n" for row in range(rows))


if __name__ == "__main__":
    main()
