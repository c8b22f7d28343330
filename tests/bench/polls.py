"""How late polls are while every stream slot is taken: ``python -m tests.bench.polls``.

Starts a Valkey, the stand-in and one worker, enqueues the jobs, and prints, from the stand-in's
own ledger, the distance between two polls of a render as a multiple of the interval.
"""

import argparse
import statistics
import time
from itertools import pairwise
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.integration.conftest import passing_house

SLOT_LIMIT = 0.8


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--slots", type=int, default=200)
    parser.add_argument("--stream-seconds", type=float, default=30)
    parser.add_argument("--interval", type=float, default=3)
    asked = parser.parse_args()
    with passing_house() as house:
        house.open_sandbox(
            *("--stream-seconds", f"{asked.stream_seconds:g}", "--heartbeat-seconds", "5"),
            *("--render-seconds", f"{4 * asked.interval:g}"),
        )
        house.start_worker(
            *("-c", str(asked.slots)),
            REELQUEUE_ACCOUNT_IN_FLIGHT=str(asked.slots),
            REELQUEUE_RENDER_POLL_SECONDS=str(asked.interval),
            REELQUEUE_LEASE_SECONDS="30",
            REELQUEUE_TICK_SECONDS="0.5",
            REELQUEUE_STREAM_TIMEOUT_SECONDS="900",
            REELQUEUE_STREAM_IDLE_SECONDS="600",
        )
        began = time.monotonic()
        for _ in range(asked.jobs):
            house.submit(house.image())
        counts = house.settled(limit=3600)
        report(house.sandbox.ledger(), asked, time.monotonic() - began)
        Console().print({state.value: n for state, n in counts.items()})


def report(ledger: dict[str, list[dict[str, Any]]], asked: argparse.Namespace, took: float) -> None:
    """Print the table."""
    gaps = sorted(
        (later - earlier) / asked.interval
        for render in ledger["renders"]
        for earlier, later in pairwise(render["polls"])
    )
    streams = sorted(
        [(m["at"], 1) for m in ledger["messages"]]
        + [(m["ended_at"], -1) for m in ledger["messages"]]
    )
    running, most, full, since = 0, 0, 0.0, streams[0][0]
    limit = int(asked.slots * SLOT_LIMIT)
    for at, step in streams:
        if running >= limit * 0.9:
            full += at - since
        running, since = running + step, at
        most = max(most, running)
    table = Table("what", "figure")
    table.add_row("jobs, slots, stream", f"{asked.jobs}, {asked.slots}, {asked.stream_seconds:g} s")
    table.add_row("took", f"{took:.0f} s")
    table.add_row("most streams at once (limit)", f"{most} ({limit})")
    table.add_row("time with over 90 % of the stream slots taken", f"{full:.0f} s")
    table.add_row("polls measured", str(len(gaps)))
    table.add_row("distance of two polls, in intervals: median", f"{statistics.median(gaps):.2f}")
    table.add_row("99th percentile", f"{gaps[int(len(gaps) * 0.99)]:.2f}")
    table.add_row("most", f"{gaps[-1]:.2f}")
    table.add_row("paid messages, inputs", f"{len(ledger['messages'])}, {len(ledger['uploads'])}")
    Console().print(table)


if __name__ == "__main__":
    main()
