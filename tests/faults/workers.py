"""The workers of a campaign."""

import itertools
import random
import signal
from collections.abc import Mapping
from pathlib import Path
from subprocess import TimeoutExpired

from tests.support.processes import Process, Worker
from worker.faultpoints import VARIABLE

WORKERS = 6
FULL_DISK_SHARE = 0.2
"""The share of the workers that find the disk full once, while they write a clip or a poster."""
ADOPTED = "payment adopted from the journal"
INTAKE_PASSAGES = 2
"""At which of its first submissions by message a victim is killed at the latest."""


class WorkerPool:
    """A number of running workers: those that a fault takes away are replaced.

    Attributes:
        violations: Workers that exited without a reason or with an error, each in one line.
    """

    def __init__(self, folder: Path, env: Mapping[str, str], rng: random.Random) -> None:
        self.violations: list[str] = []
        self._folder = folder
        self._env = env
        self._rng = rng
        self._numbers = itertools.count(1)
        self._started: list[Process] = []
        self._running: list[Process] = []
        self._frozen: list[Process] = []
        self._terminating: list[Process] = []
        self._victims: list[Process] = []

    def replace(self) -> None:
        """Report workers that have exited by themselves, and start as many as are missing."""
        for worker in list(self._running):
            if not worker.alive:
                self.violations.append(f"a worker exited by itself: {worker.log}")
                self._running.remove(worker)
        for worker in self._victims:
            if not worker.alive and not was_killed_in_intake(worker):
                self.violations.append(f"a worker exited by itself: {worker.log}")
        self._victims = [worker for worker in self._victims if worker.alive]
        while len(self._running) < WORKERS:
            full = f"store.write:before=full@{self._rng.randint(1, 8)}"
            has_full_disk = self._rng.random() < FULL_DISK_SHARE
            self._running.append(self._start({VARIABLE: full} if has_full_disk else {}))

    def ready(self) -> list[Process]:
        """Return the workers that process jobs: they have started and are not frozen."""
        active = [worker for worker in self._running if worker not in self._frozen]
        return [worker for worker in active if worker.is_ready]

    def kill(self) -> None:
        """Kill one of the ready workers."""
        self._remove().kill()

    def terminate(self) -> None:
        """Terminate one of the ready workers."""
        worker = self._remove()
        self._terminating.append(worker)
        worker.terminate()

    def freeze(self) -> Process:
        """Freeze one of the ready workers, and return it."""
        worker = self._rng.choice(self.ready())
        worker.freeze()
        self._frozen.append(worker)
        return worker

    def start_victim_of_intake(self) -> None:
        """Start a worker besides the others that is killed while it takes a submission."""
        side = self._rng.choice(("before", "after"))
        fault = f"intake:{side}=kill@{self._rng.randint(1, INTAKE_PASSAGES)}"
        self._victims.append(self._start({VARIABLE: fault}))

    def resume(self, worker: Process) -> None:
        """Resume a frozen worker."""
        self._frozen.remove(worker)
        if worker.alive:
            worker.resume()

    def check_terminated(self) -> None:
        """Wait for the terminated workers, and report those that exited with an error."""
        for worker in self._terminating:
            try:
                code = worker.wait(120)
            except TimeoutExpired:
                self.violations.append(f"a terminated worker did not exit: {worker.log}")
                continue
            # One that was terminated before it handled signals had not done any work.
            if code and not (code == -signal.SIGTERM and not worker.is_ready):
                self.violations.append(f"a terminated worker exited with {code}: {worker.log}")

    def stop(self) -> None:
        """Stop all workers."""
        for worker in self._running + self._terminating + self._victims:
            worker.stop()
        self._running.clear()
        self._victims.clear()

    def full_disks(self) -> int:
        """Return how often a worker found the disk full."""
        return sum(worker.text().count(": full\n") for worker in self._started)

    def adoptions(self) -> int:
        """Return how many payments workers have taken over from the payment journal."""
        return sum(worker.text().count(ADOPTED) for worker in self._started)

    def intake_kills(self) -> int:
        """Return how many workers were killed while they took a submission."""
        return sum(was_killed_in_intake(worker) for worker in self._started)

    def _remove(self) -> Process:
        worker = self._rng.choice(self.ready())
        self._running.remove(worker)
        return worker

    def _start(self, env: Mapping[str, str]) -> Process:
        name = f"w{next(self._numbers)}"
        worker = Worker(name, self._folder / f"{name}.log", {**self._env, **env})
        self._started.append(worker)
        return worker


def was_killed_in_intake(worker: Process) -> bool:
    """Return whether a worker was killed at the fault point of the intake."""
    return "fault point intake" in worker.text()
