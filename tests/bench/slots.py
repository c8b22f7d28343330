"""How late polls are while every stream slot is taken.

Starts a Valkey, the stand-in and one worker, submits the jobs, and prints, from the ledger of the
stand-in, the time between two polls of a render as a multiple of the interval.
"""

import statistics
import time
from argparse import Namespace
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.table import Table

from tests.support.stack import temporary_stack

OPTIONS = {
    "jobs": (1000, "jobs to run"),
    "slots": (200, "jobs that the worker runs at the same time"),
    "stream_seconds": (30.0, "duration of a message's stream"),
    "interval": (3.0, "seconds between two polls of a render"),
}
STREAM_SHARE = 0.8
"""The share of the slots that streams may take."""


def run(options: Namespace, _folder: Path) -> Iterator[Table | dict[str, int]]:
    """Measure, and yield what is printed."""
    with temporary_stack() as stack:
        stack.start_sandbox(
            *("--stream-seconds", str(options.stream_seconds), "--heartbeat-seconds", "5"),
            *("--render-seconds", str(4 * options.interval)),
        )
        stack.start_worker(
            *("-c", str(options.slots)),
            REELQUEUE_ACCOUNT_IN_FLIGHT=str(options.slots),
            REELQUEUE_RENDER_POLL_SECONDS=str(options.interval),
            REELQUEUE_LEASE_SECONDS="30",
            REELQUEUE_TICK_SECONDS="0.5",
            REELQUEUE_STREAM_TIMEOUT_SECONDS="900",
            REELQUEUE_STREAM_IDLE_SECONDS="600",
        )
        began = time.monotonic()
        for _ in range(options.jobs):
            stack.submit(stack.image())
        counts = stack.wait_until_idle()
        yield report(stack.sandbox.ledger(), options, time.monotonic() - began)
        yield {state.value: n for state, n in counts.items()}


def report(ledger: dict[str, list[dict[str, Any]]], options: Namespace, seconds: float) -> Table:
    """Build the table from the ledger of the stand-in."""
    gaps = sorted(
        (later - earlier) / options.interval
        for render in ledger["renders"]
        for earlier, later in pairwise(render["polls"])
    )
    streams = sorted(
        [(m["at"], 1) for m in ledger["messages"]]
        + [(m["ended_at"], -1) for m in ledger["messages"]]
    )
    running, most, full, since = 0, 0, 0.0, streams[0][0]
    limit = int(options.slots * STREAM_SHARE)
    for at, step in streams:
        if running >= limit * 0.9:
            full += at - since
        running, since = running + step, at
        most = max(most, running)
    table = Table("what", "figure")
    for what, figure in {
        "jobs, slots, stream": f"{options.jobs}, {options.slots}, {options.stream_seconds:g} s",
        "duration": f"{seconds:.0f} s",
        "most streams at the same time (limit)": f"{most} ({limit})",
        "time with over 90 % of the stream slots taken": f"{full:.0f} s",
        "polls measured": str(len(gaps)),
        "time between two polls, in intervals: median": f"{statistics.median(gaps):.2f}",
        "99th percentile": f"{gaps[int(len(gaps) * 0.99)]:.2f}",
        "maximum": f"{gaps[-1]:.2f}",
        "paid messages, inputs": f"{len(ledger['messages'])}, {len(ledger['uploads'])}",
    }.items():
        table.add_row(what, figure)
    return table
