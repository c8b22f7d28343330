"""Runs the same jobs with this service and with each alternative, and measures all of them."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

from celery import Celery

from tests.bench.alternatives.celery_app import TASK
from tests.bench.backend.stack import BenchStack, CpuCost
from tests.support.costs import RedisCost, redis_cost, tree_cpu_seconds, tree_memory
from tests.support.processes import Process
from tests.support.stack import is_idle
from tests.support.valkey import Valkey
from tests.support.waiting import wait_until
from worker.ledger.model.states import State

LIMIT_SECONDS = 1800
SAMPLE_SECONDS = 0.5
RESULTS = "celery-task-meta-*"


@dataclass(frozen=True, slots=True)
class Load:
    """The jobs of a run.

    Attributes:
        jobs: How many are measured.
        warm_up: How many are run first.
        slots: How many run at the same time.
        poll_seconds: The interval of the polls of a render.
    """

    jobs: int
    warm_up: int
    slots: int
    poll_seconds: float


@dataclass(frozen=True, slots=True)
class Run:
    """What the jobs of a run have cost.

    Attributes:
        seconds: How long they took.
        cpu: The CPU seconds of the processes.
        redis: What Valkey counted; None without a queue.
        memory: The most bytes that the worker with its children had.
    """

    seconds: float
    cpu: CpuCost
    redis: RedisCost | None
    memory: int


def run_service(stack: BenchStack, load: Load, **env: str) -> Run:
    """Run the jobs with this service, all durability on."""
    settings = {
        "REELQUEUE_ACCOUNT_IN_FLIGHT": str(load.slots),
        "REELQUEUE_RENDER_POLL_SECONDS": str(load.poll_seconds),
    }
    worker = stack.start_worker("-c", str(load.slots), **settings, **env)
    stack.allow_in_flight(load.slots)

    def end_jobs(number: int) -> None:
        for _ in range(number):
            stack.submit(stack.image())
        # Looked at once a second, because each look counts as a command of the jobs.
        deadline = time.monotonic() + LIMIT_SECONDS
        while not is_idle(counts := stack.ledger.counts()[0]) and time.monotonic() < deadline:
            time.sleep(1)
        assert set(counts) == {State.SUCCEEDED}, counts

    end_jobs(load.warm_up)
    return measure(stack, worker, stack.valkey, lambda: end_jobs(load.jobs))


def run_celery(stack: BenchStack, load: Load, pool: str, processes: int) -> Run:
    """Run the jobs as Celery tasks, with a Valkey that keeps nothing on disk."""
    valkey = Valkey(stack.folder / "broker", "--appendonly", "no").start()
    try:
        command = [sys.executable, "-m", "celery", "-A", "tests.bench.alternatives.celery_app"]
        slots = ("worker", "-P", pool, "-c", str(processes))
        env = {"COMPARISON_REDIS_URL": valkey.url}
        worker = Process([*command, *slots], stack.folder / f"{pool}.log", env)
        try:
            return _run_tasks(stack, load, valkey, worker)
        finally:
            worker.stop()
    finally:
        valkey.stop()


def _run_tasks(stack: BenchStack, load: Load, valkey: Valkey, worker: Process) -> Run:
    output = stack.folder / "celery"
    output.mkdir(exist_ok=True)
    with Celery(broker=valkey.url, backend=valkey.url) as app, valkey.client() as redis:

        def end_tasks(number: int) -> None:
            made = stack.backend.counts()["calls"].get("download", 0)
            ended = len(redis.keys(RESULTS))
            for _ in range(number):
                arguments = (stack.backend.url, str(stack.image()), str(output), load.poll_seconds)
                app.send_task(TASK, arguments)
            # The results are counted when no call is missing: the keys are many.
            wait_until(
                lambda: (
                    stack.backend.counts()["calls"].get("download", 0) == made + number
                    and len(redis.keys(RESULTS)) == ended + number
                ),
                "the tasks to end",
                LIMIT_SECONDS,
                worker.text,
            )

        end_tasks(load.warm_up)
        return measure(stack, worker, valkey, lambda: end_tasks(load.jobs))


def run_script(stack: BenchStack, load: Load) -> Run:
    """Run the jobs with the bare script, which measures its own CPU time."""
    images, output = stack.folder / "images", stack.folder / "script"
    for folder in images, output:
        folder.mkdir()
    for _ in range(load.jobs):
        path = stack.image()
        path.rename(images / path.name)
    arguments = (stack.backend.url, images, output, load.slots, load.poll_seconds)
    command = [sys.executable, "-m", "tests.bench.alternatives.script", *map(str, arguments)]
    before = tree_cpu_seconds(stack.backend.process.pid)
    process = Process(command, stack.folder / "script.log", {})
    with most_memory(process.pid) as memory:
        code = process.wait(LIMIT_SECONDS)
    assert code == 0, process.text()
    used = json.loads(process.text())
    backend = tree_cpu_seconds(stack.backend.process.pid) - before
    return Run(used["seconds"], CpuCost(used["cpu"], 0, backend), None, memory())


def measure(
    stack: BenchStack, worker: Process, valkey: Valkey, end_jobs: Callable[[], None]
) -> Run:
    """Measure what ending jobs costs a worker, its Valkey and the backend."""
    assert valkey.process is not None
    pids = (worker.pid, valkey.process.pid, stack.backend.process.pid)
    with valkey.client() as redis, most_memory(worker.pid) as memory:
        counted, began = redis_cost(redis), time.monotonic()
        before = CpuCost(*map(tree_cpu_seconds, pids))
        end_jobs()
        seconds = time.monotonic() - began
        cpu = CpuCost(*map(tree_cpu_seconds, pids)).since(before)
        return Run(seconds, cpu, redis_cost(redis).since(counted), memory())


@contextmanager
def most_memory(pid: int) -> Iterator[Callable[[], int]]:
    """Sample the memory of a process and its children; yields what returns the most so far."""
    found, ended = [0], Event()

    def sample() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            found.append(tree_memory(pid))

    sampler = Thread(target=sample)
    sampler.start()
    try:
        yield lambda: max(found)
    finally:
        ended.set()
        sampler.join()
