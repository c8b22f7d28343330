"""How late polls are, and what each costs, with thousands of renders waiting on one worker.

Writes jobs whose renders are running straight into the ledger, with their next polls spread over an
interval, and starts one worker and a backend that answers polls immediately. After the first poll
of each job, it measures for some time. The lateness of a poll is the time since the one before it,
as the backend saw both, less the interval: an upper bound, which includes the time until the one
before was committed.
"""

import json
import socket
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr
from rich.table import Table

from tests.bench.backend.api import DRAFT
from tests.bench.backend.stack import BenchStack, CpuCost, bench_stack
from tests.support.costs import RedisCost
from tests.support.ledger_access import submit_many
from tests.support.stack import TOKEN
from worker.accounts.credentials import Credential
from worker.ledger.constants import POLL_GRACE_MS
from worker.ledger.model.submissions import NewJob
from worker.ledger.pages import pages

OPTIONS = {
    "renders": (20_000, "renders that wait"),
    "interval": (30.0, "seconds between two polls of a render"),
    "intervals": (2.0, "intervals to measure"),
}
HEAD_START = 8.0
"""Seconds from the writing of the jobs until the first poll is due: the worker starts meanwhile."""
MAX_POLLS = 1000
GOAL_SECONDS = 2.0


def run(options: Namespace, _folder: Path) -> Iterator[Table | str]:
    """Measure, and yield what is printed."""
    with bench_stack() as stack:
        stack.start_backend("--rendering-polls", str(MAX_POLLS), "--clip", "small")
        names = [f"render_{number}" for number in range(options.renders)]
        submit_renders(stack.backend.url, names)
        write_jobs(stack, names, options.interval)
        worker = stack.start_worker(
            REELQUEUE_RENDER_POLL_SECONDS=str(options.interval),
            REELQUEUE_RENDER_MAX_POLLS=str(MAX_POLLS),
        )
        time.sleep(HEAD_START + options.interval)
        polls = len(stack.backend.counts()["gaps"])
        cpu, cost, began = stack.cpu(worker), stack.redis_cost(), time.monotonic()
        time.sleep(options.intervals * options.interval)
        cpu, cost = stack.cpu(worker).since(cpu), stack.redis_cost().since(cost)
        seconds = time.monotonic() - began
        gaps = stack.backend.counts()["gaps"][polls:]
        states = stack.ledger.counts()[0]
        yield report(gaps, options, seconds, cpu, cost)
        yield f"jobs: {', '.join(f'{state.value} {n}' for state, n in states.items())}"
        worker.terminate()
        worker.wait()


def submit_renders(url: str, names: Sequence[str]) -> None:
    """Make renders known to the backend, some requests at a time on one connection."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        for page in pages(names):
            connection.sendall(b"".join(map(_export, page)))
            received = b""
            while received.count(b"HTTP/1.1 200 ") < len(page):
                received += connection.recv(65536)


def _export(name: str) -> bytes:
    body = json.dumps({"id": name}).encode()
    head = "POST /api/render/proxy/lambda HTTP/1.1\r\nHost: backend\r\nContent-Length:"
    return f"{head} {len(body)}\r\n\r\n".encode() + body


def write_jobs(stack: BenchStack, renders: Sequence[str], interval: float) -> None:
    """Write jobs whose renders are running. Their first polls are spread over an interval."""
    ledger, key = stack.ledger, stack.ledger.key
    payload = {"image": "photo.jpg", "prompt": "a slow push-in", "language": "en"}
    ids = {f"job-{number}": render for number, render in enumerate(renders)}
    submit_many(ledger, (NewJob(id=id_, payload=payload, fingerprint=id_) for id_ in ids))
    flows = stack.redis.zrange(key("flows"), 0, -1)
    stack.redis.delete(key("flows"), *(key("flow", str(flow)) for flow in flows))
    stack.redis.hset(key("counts"), mapping={"n:queued": 0, "n:rendering": len(ids)})
    account = f"account-{Credential('', SecretStr(TOKEN), anonymous=False).token_id}"
    now, draft = ledger.now_ms(), json.dumps(DRAFT)
    first = now + int(HEAD_START * 1000)
    for page in pages(enumerate(ids.items())):
        with stack.redis.pipeline(transaction=False) as pipe:
            for at, (job_id, render) in page:
                due = first + int(at * interval * 1000 / len(ids))
                fields: dict[Any, Any] = {
                    "state": "rendering",
                    "entered_at": now,
                    "started_at": now,
                    "worker": "w",
                    "account": account,
                    "session_id": f"ses_{at}",
                    "task_id": f"tsk_{at}",
                    "call:1": f"{job_id}:1",
                    "outcome:1": "done",
                    "cost:1": 100,
                    "paid": 1,
                    "draft": draft,
                    "render_id": render,
                    "render_submitted": 1,
                    "polls": 0,
                    "not_before": due,
                    "fence": 1,
                    "attempts": 1,
                }
                pipe.hset(key("job", job_id), mapping=fields)
                pipe.zadd(key("polls"), {job_id: due})
                pipe.zadd(key("agenda"), {job_id: due + POLL_GRACE_MS})
            pipe.execute()


def report(
    gaps: Sequence[float], options: Namespace, seconds: float, cpu: CpuCost, cost: RedisCost
) -> Table:
    """Build the table."""
    late = sorted(gap - options.interval for gap in gaps)
    polls = len(late)
    p99 = late[int(polls * 0.99)]
    needed = options.renders / options.interval
    table = Table("what", "figure")
    for what, figure in {
        "renders waiting, interval": f"{options.renders}, {options.interval:g} s",
        "polls a second (needed)": f"{polls / seconds:.0f} ({needed:.0f})",
        "lateness: median": f"{late[polls // 2]:.2f} s",
        f"lateness: 99th percentile (at most {GOAL_SECONDS:g} s)": f"{p99:.2f} s",
        "lateness: maximum": f"{late[-1]:.2f} s",
        "CPU ms a poll: worker": f"{1000 * cpu.worker / polls:.2f}",
        "CPU ms a poll: Valkey": f"{1000 * cpu.valkey / polls:.2f}",
        "CPU ms a poll: backend": f"{1000 * cpu.backend / polls:.2f}",
        "Redis commands a poll": f"{cost.commands / polls:.2f}",
        "script calls a poll": f"{cost.scripts / polls:.3f}",
        "pushes of wake-up messages a poll": f"{cost.pushes / polls:.3f}",
    }.items():
        table.add_row(what, figure)
    return table
