"""A Valkey, the backend and workers of a measurement, and what each of them costs."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import httpx

from tests.support.costs import RedisCost, redis_cost, tree_cpu_seconds
from tests.support.processes import Process
from tests.support.stack import Stack
from tests.support.waiting import wait_until


class Backend:
    """The backend as a process of its own; its options are those of `tests.bench.backend`."""

    def __init__(self, folder: Path, *flags: str) -> None:
        """Start it, and wait until it listens."""
        command = [sys.executable, "-m", "tests.bench.backend", *flags]
        self.process = Process(command, folder / "backend.log", {})

        def answered() -> str:
            assert self.process.alive, self.process.text()
            first, end, _ = self.process.text().partition("\n")
            return first if end else ""

        self.url = wait_until(answered, "the backend to listen")

    def counts(self) -> dict[str, Any]:
        """Return what it has counted: ``calls``, ``streams``, ``most_streams`` and ``gaps``."""
        reply = httpx.get(f"{self.url}/counts", trust_env=False, timeout=30).raise_for_status()
        found: dict[str, Any] = reply.json()
        return found

    def stop(self) -> None:
        """Stop it."""
        self.process.stop()


@dataclass(frozen=True, slots=True)
class CpuCost:
    """CPU seconds of processes since their start, or differences of such seconds.

    Those of the worker include its threads and all its children.
    """

    worker: float
    valkey: float
    backend: float

    def since(self, before: "CpuCost") -> "CpuCost":
        """Return what was added since another reading."""
        names = [field.name for field in fields(self)]
        return CpuCost(*(getattr(self, name) - getattr(before, name) for name in names))


class BenchStack(Stack):
    """A stack with the lean backend. Its workers keep the default settings."""

    def start_backend(self, *flags: str) -> Backend:
        """Start the backend. Workers that start later use it."""
        self.backend = Backend(self.folder, *flags)
        self._resources.callback(self.backend.stop)
        self.env = self.addresses(self.backend.url)
        return self.backend

    def _launch(self, name: str, env: dict[str, str], *flags: str) -> Process:
        """Start a worker that shares no memory with others, as a forked one would."""
        command = [sys.executable, "-m", "celery", "-A", "worker.app", "worker", "-P", "gevent"]
        return Process([*command, "-n", f"{name}@%h", *flags], self.folder / f"{name}.log", env)

    def cpu(self, worker: Process) -> CpuCost:
        """Read the CPU times of a worker and of the servers."""
        assert self.valkey.process is not None
        pids = (worker.pid, self.valkey.process.pid, self.backend.process.pid)
        return CpuCost(*map(tree_cpu_seconds, pids))

    def redis_cost(self) -> RedisCost:
        """Read the counts of Valkey."""
        return redis_cost(self.redis)


@contextmanager
def bench_stack() -> Iterator[BenchStack]:
    """Run a stack in a temporary folder on disk, without workers."""
    with ExitStack() as resources:
        folder = resources.enter_context(tempfile.TemporaryDirectory(prefix="reelqueue-bench-"))
        yield BenchStack(Path(folder), resources, on_disk=True)
