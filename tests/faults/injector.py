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
from tests.faults.takeovers import Outage
from tests.faults.workers import WorkerPool
from tests.support.valkey import Valkey

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
        valkey: Valkey,
        proxies: Mapping[str, Proxy],
        workers: WorkerPool,
        output: OutputLink,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.outages: list[Outage] = []
        self._plan = plan
        self._rng = rng
        self._valkey = valkey
        self._proxies = proxies
        self._workers = workers
        self._output = output
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
        if fault and fault.needs_worker and len(self._workers.ready()) <= MINIMUM_READY:
            self._after(RETRY_SECONDS, lambda: self._inject(name))
            return
        self.counts[name] += 1
        match fault:
            case Fault.WORKER_KILLED:
                self._workers.kill()
            case Fault.WORKER_TERMINATED:
                self._workers.terminate()
            case Fault.WORKER_FROZEN:
                worker = self._workers.freeze()
                frozen = LEASE_SECONDS * self._rng.uniform(1.2, 2)
                self._after(frozen, lambda: self._workers.resume(worker))
            case Fault.VALKEY_RESTARTED:
                self._add_outage(0)
                self._valkey.resume()
                self._valkey.stop()
                self._valkey.start()
            case Fault.VALKEY_FROZEN:
                self._add_outage(self._plan.freeze_seconds)
                self._valkey.freeze()
                self._after(self._plan.freeze_seconds, self._valkey.resume)
            case Fault.OUTPUT_FAILING:
                self._output.fail()
                self._after(OUTPUT_FAILING_SECONDS, self._output.restore)
            case None:
                server, _, how = name.partition(": connections ")
                self._disturb(server, how)

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
