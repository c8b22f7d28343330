"""A script with gevent and httpx, without a queue: what a job costs at least.

Prints the seconds and the CPU seconds that its jobs took, as JSON.
"""

# ruff: noqa: E402 - gevent patches modules before others import them.
from gevent import monkey

monkey.patch_all()

import json
import sys
import time
from pathlib import Path

from gevent.pool import Pool

from tests.bench.alternatives.calls import make_clip


def main(api: str, images: str, output: str, slots: str, poll_seconds: str) -> None:
    """Make a clip of each image in a folder."""
    pool, began, used = Pool(int(slots)), time.monotonic(), time.process_time()
    jobs = [
        pool.spawn(make_clip, api, image, Path(output), float(poll_seconds))
        for image in Path(images).iterdir()
    ]
    for job in jobs:
        job.get()
    spent = {"seconds": time.monotonic() - began, "cpu": time.process_time() - used}
    sys.stdout.write(f"{json.dumps(spent)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
