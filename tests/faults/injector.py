"""The injection of a plan's faults into the servers, the workers and their connections."""

import heapq
import itertools
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.faults.plan import Fault, Plan
from tests.faults.proxy import Condition, Proxy
from tests.faults.redis_server import RedisServer
from tests.faults.takeovers import Outage
from tests.faults.workers import WorkerPool

MINIMUM_READY: Final = 3
"""A worker is taken away only while more than this many are ready. Otherwise the figures would
measure the start of Celery, not the takeover of jobs."""
LEASE_SECONDS: Final = 9.0
"""The shortest lease for which a third of it is still an allowed Redis timeout: all waits have the
same proportions as by default."""
RECONNECT_SECONDS: Final = LEASE_SECONDS / 3
"""How long a worker waits for a silent Redis before it connects again."""
RETRY_SECONDS: Final = 0.2
DISTURBED_SECONDS: Final = 2.0
HALF_OPEN_SECONDS: Final = 12.0
OUTPUT_FAILING_SECONDS: Final = 1.5
REFUSED_SECONDS: Final = 3.0
UNREPLICATED_SECONDS: Final = (0.3, 2.0)
"""How long writes reach no replica before a failover, at least and at most."""
COPY_SECONDS: Final = (2.0, 8.0)
"""How old a copy of the data is when it is restored, at least and at most."""


class OutputLink:
    """The output folder: a symbolic link that can point to a store or to a file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "output"
        self.store = folder / "store"
        self.store.mkdir()
        self._file = folder / "no-folder"
        self._file.touch()
        self.restore()

    def fail(self) -> None:
        """Make every write fail."""
        self._point_to(self._file)

    def restore(self) -> None:
        """Let writes succeed."""
        self._point_to(self.store)

    def _point_to(self, target: Path) -> None:
        link = self.path.with_suffix(".new")
        link.symlink_to(target)
        os.replace(link, self.path)  # noqa: PTH105 - replaces the link, not its target


class Injector:
    """Injects faults when they are due, and ends them.

    Attributes:
        counts: How many faults of each kind were injected.
        outages: When faults kept workers from Redis.
    """

    def __init__(
        self,
        plan: Plan,
        rng: random.Random,
        *,
        redis: RedisServer,
        proxies: Mapping[str, Proxy],
        workers: WorkerPool,
        output: OutputLink,
        on_loss: Callable[[], None],
    ) -> None:
        """Take what faults are injected into. ``on_loss`` is called when Redis has lost data."""
        self.counts: Counter[str] = Counter()
        self.outages: list[Outage] = []
        self._plan = plan
        self._rng = rng
        self._redis = redis
        self._proxies = proxies
        self._workers = workers
        self._output = output
        self._on_loss = on_loss
        self._scheduled: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    @property
    def finished(self) -> bool:
        """Whether no fault is scheduled or lasts."""
        return not self._scheduled

    def start(self) -> None:
        """Schedule the plan's faults from now on."""
        for seconds, name in self._plan.schedule(self._rng):
            self._after(seconds, lambda name=name: self._inject(name))  # type: ignore[misc]

    def run_due(self) -> None:
        """Inject and end the faults that are due."""
        while self._scheduled and self._scheduled[0][0] <= time.monotonic():
            heapq.heappop(self._scheduled)[2]()

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._scheduled, (time.monotonic() + seconds, next(self._order), action))

    def _inject(self, name: str) -> None:
        fault = next((fault for fault in Fault if fault == name), None)
        if fault and self._must_wait(fault):
            self._after(RETRY_SECONDS, lambda: self._inject(name))
            return
        self.counts[name] += fault is not Fault.INTAKE_KILLED
        match fault:
            case Fault.WORKER_KILLED:
                self._workers.kill()
            case Fault.WORKER_TERMINATED:
                self._workers.terminate()
            case Fault.WORKER_FROZEN:
                worker = self._workers.freeze()
                frozen = LEASE_SECONDS * self._rng.uniform(1.2, 2)
                self._after(frozen, lambda: self._workers.resume(worker))
            case Fault.INTAKE_KILLED:
                # Counted when it dies.
                self._workers.start_victim_of_intake()
            case Fault.OUTPUT_FAILING:
                self._output.fail()
                self._after(OUTPUT_FAILING_SECONDS, self._output.restore)
            case None:
                server, _, how = name.partition(": connections ")
                self._disturb(server, how)
            case _:
                self._disturb_server(fault)

    def _must_wait(self, fault: Fault) -> bool:
        if fault.needs_worker:
            return len(self._workers.ready()) <= MINIMUM_READY
        return fault.needs_server and self._redis.is_busy

    def _disturb_server(self, fault: Fault) -> None:
        redis = self._redis
        match fault:
            case Fault.VALKEY_RESTARTED:
                self._add_outage(0)
                redis.restart()
            case Fault.VALKEY_FROZEN:
                self._add_outage(self._plan.freeze_seconds)
                redis.freeze()
                self._after(self._plan.freeze_seconds, redis.resume)
            case Fault.VALKEY_CUT:
                self._add_outage(0)
                redis.power_cut()
            case Fault.VALKEY_FLUSHED:
                self._add_outage(0)
                redis.flush()
                self._on_loss()
            case Fault.VALKEY_RESTORED:
                copy = redis.copy()
                self._after(self._rng.uniform(*COPY_SECONDS), lambda: self._restore(copy))
            case Fault.VALKEY_FAILED_OVER:
                redis.prepare_failover()
                self._after(self._rng.uniform(*UNREPLICATED_SECONDS), self._fail_over)
            case Fault.VALKEY_OOM | Fault.VALKEY_READONLY:
                refuse = redis.refuse_memory if fault is Fault.VALKEY_OOM else redis.refuse_writes
                self._add_outage(REFUSED_SECONDS)
                refuse()
                self._after(REFUSED_SECONDS, redis.accept)

    def _restore(self, copy: Path) -> None:
        if self._redis.is_busy:
            self._after(RETRY_SECONDS, lambda: self._restore(copy))
            return
        self._add_outage(0)
        self._redis.restore(copy)
        self._on_loss()

    def _fail_over(self) -> None:
        self._add_outage(0)
        self._redis.fail_over()
        self._on_loss()

    def _disturb(self, server: str, how: str) -> None:
        proxy = self._proxies[server]
        if how in {"cut", "reset"}:
            seconds = 0.0
            proxy.cut(reset=how == "reset")
        else:
            condition = Condition(how)
            seconds = DISTURBED_SECONDS
            proxy.set_condition(condition)
            self._after(seconds, lambda: proxy.set_condition(Condition.NORMAL))
            if condition is Condition.HALF_OPEN:
                # Connections that were open stay silent until they are reset.
                seconds = HALF_OPEN_SECONDS
                self._after(seconds, lambda: proxy.cut(reset=True))
        if server == "Redis":
            self._add_outage(seconds)

    def _add_outage(self, seconds: float) -> None:
        now = time.time()
        self.outages.append(Outage(now, now + seconds + RECONNECT_SECONDS))
