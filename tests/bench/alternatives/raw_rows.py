"""Writes rows to Redis as fast as redis-py alone does it: what submitting them costs at least.

Each row is a hash of five fields and an entry of a list, in pipelines, without hiredis. Prints the
seconds and the CPU seconds, as JSON.
"""

# ruff: noqa: E402 - what redis-py finds when it is imported decides.
import sys

sys.modules["hiredis"] = None  # type: ignore[assignment] # which makes its import fail

import json
import time

from redis import Redis

PAGE = 1000


def main(url: str, rows: str) -> None:
    """Write the rows."""
    began, used = time.monotonic(), time.process_time()
    with Redis.from_url(url) as redis:
        for first in range(0, int(rows), PAGE):
            with redis.pipeline(transaction=False) as pipe:
                for row in range(first, min(first + PAGE, int(rows))):
                    fields = {
                        "image": f"photo-{row % 1000}.png",
                        "prompt": f"Slow push-in on product {row}, 6 seconds",
                        "state": "queued",
                        "batch": "raw",
                        "row": row,
                    }
                    pipe.hset(f"raw:{row}", mapping=fields)
                    pipe.rpush("raw", row)
                pipe.execute()
    spent = {"seconds": time.monotonic() - began, "cpu": time.process_time() - used}
    sys.stdout.write(f"{json.dumps(spent)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
