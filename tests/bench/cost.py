"""What a job costs a worker and Redis: CPU time, commands, script calls, publishes, connections.

Starts a Valkey, the stand-in and one worker, counts what the idle worker does, lets it end some
jobs to warm up and then many, and prints the counts of a job without those of the idle worker.
"""

import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from tests.support.costs import RedisCost, commands_by_name, cpu_seconds, redis_cost
from tests.support.stack import Stack, is_idle, temporary_stack
from tests.support.waiting import wait_until
from worker.ledger.model.states import State

OPTIONS = {
    "jobs": (200, "jobs to measure"),
    "slots": (200, "jobs that the worker runs at the same time"),
    "idle_seconds": (10.0, "how long the idle worker is observed"),
    "stream_seconds": (0.5, "duration of a message's stream"),
    "clip_height": (96, "height of the clips in pixels; each is looked at"),
    "show_commands": (0, "print this many of the most frequent commands"),
}
WARM_UP_JOBS = 20


def run(options: Namespace, _folder: Path) -> Iterator[Table]:
    """Measure, and yield the table."""
    with temporary_stack() as stack:
        stack.start_sandbox(
            *("--stream-seconds", str(options.stream_seconds)),
            *("--render-seconds", "0.5", "--clip-height", str(options.clip_height)),
        )
        worker = stack.start_worker(
            *("-c", str(options.slots)),
            REELQUEUE_ACCOUNT_IN_FLIGHT=str(options.slots),
            REELQUEUE_TICK_SECONDS="0.5",
            REELQUEUE_LEASE_SECONDS="30",
            REELQUEUE_RENDER_POLL_SECONDS="1",
            REELQUEUE_BALANCE_SECONDS="30",
        )
        stack.allow_in_flight(options.slots)
        end_jobs(stack, WARM_UP_JOBS)
        idle, idle_cpu = observe(stack, worker.pid, options.idle_seconds)
        names = commands_by_name(stack.redis)
        before, cpu, began = redis_cost(stack.redis), cpu_seconds(worker.pid), time.monotonic()
        end_jobs(stack, options.jobs)
        seconds = time.monotonic() - began
        cost = redis_cost(stack.redis).since(before).without(idle, seconds).per(options.jobs)
        cpu_ms = 1000 * (cpu_seconds(worker.pid) - cpu - idle_cpu * seconds) / options.jobs
        yield report(cost, idle, cpu_ms, 1000 * idle_cpu, options.jobs / seconds)
        if options.show_commands:
            yield by_command(stack, names, options)


def end_jobs(stack: Stack, jobs: int) -> None:
    """Submit jobs, and wait until all have succeeded and were notified of."""
    ids = [stack.submit(stack.image()) for _ in range(jobs)]
    # Each look is a command too: they are few.
    while not is_idle(stack.ledger.counts()[0]):
        time.sleep(1)
    outboxes = [stack.ledger.key(name) for name in ("outbox", "task_events")]
    wait_until(lambda: not stack.redis.exists(*outboxes), "the outbox to be empty", 60)
    failed = [job.id for job in stack.ledger.jobs(ids) if job.state is not State.SUCCEEDED]
    if failed:
        raise AssertionError(stack.diagnosis(failed[0]))


def observe(stack: Stack, pid: int, seconds: float) -> tuple[RedisCost, float]:
    """Return what the idle worker does in a second, and its CPU time in a second."""
    before, cpu, began = redis_cost(stack.redis), cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - began
    cost = redis_cost(stack.redis).since(before)
    return cost.per(passed), (cpu_seconds(pid) - cpu) / passed


def report(
    cost: RedisCost, idle: RedisCost, cpu_ms: float, idle_cpu_ms: float, jobs_a_second: float
) -> Table:
    """Build the table."""
    table = Table("what", "a job", "idle, a second")
    table.add_row("CPU ms of the worker", f"{cpu_ms:.1f}", f"{idle_cpu_ms:.1f}")
    for what, name in {
        "Redis commands": "commands",
        "script calls": "scripts",
        "publishes": "publishes",
        "commands that put messages into queues": "pushes",
        "connections opened": "connections",
    }.items():
        table.add_row(what, f"{getattr(cost, name):.2f}", f"{getattr(idle, name):.2f}")
    table.add_row("jobs/s", f"{jobs_a_second:.1f}", "")
    return table


def by_command(stack: Stack, before: dict[str, int], options: Namespace) -> Table:
    """Build the table of the most frequent commands, with those of the idle worker."""
    table = Table("command", "a job")
    now = commands_by_name(stack.redis)
    calls = {name: number - before.get(name, 0) for name, number in now.items()}
    for name in sorted(calls, key=calls.__getitem__, reverse=True)[: options.show_commands]:
        table.add_row(name, f"{calls[name] / options.jobs:.2f}")
    return table
