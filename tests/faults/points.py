"""A kill at every fault point: ``python -m tests.faults.points``.

Workers that die at one named point each, at its first and, in a second round, at its second
passage. Others finish what they left, and the invariants are checked against the ledgers of both
sides. Exit status 1: an invariant broke, or a point was never reached.
"""

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.faults.evidence import gather
from tests.faults.invariants import INVARIANTS, violations
from tests.integration.conftest import House
from tests.support.processes import Process, Worker
from tests.support.waiting import wait_until
from worker.faultpoints import VARIABLE, WORKER
from worker.ledger.ledger import NewJob
from worker.ledger.states import Reason, State

AT_ONCE: Final = 4
LIMIT_SECONDS: Final = 60
WAITING: Final = 4
"""Jobs that are kept on their way for each worker that is to die."""

ANONYMOUS: Final = ("api.token",)
"""Points that only a house without registered tokens passes."""


@dataclass(frozen=True, slots=True)
class Provocation:
    """What makes a house pass a point that good days do not lead to."""

    faults: Sequence[Mapping[str, object]] = ()


def refuse(call: str, code: int) -> Provocation:
    """A call that is refused, often enough for every victim at once."""
    return Provocation(({"call": call, "action": "refuse", "code": code, "times": 3},))


PROVOKED: Final[Mapping[str, Provocation]] = {
    "release_paid": refuse("message", 429),
    "rate_limited": refuse("message", 429),
    "refused": refuse("message", 2001),
    "token_refused": refuse("session", 1001),
    "commit.preparing": refuse("upload", 500),
    "commit.held": refuse("export", 402),
    "commit.failed": refuse("upload", 4001),
    # Long enough between claim and message for a person to change her mind.
    "commit.cancelled": Provocation(
        ({"call": "state", "action": "slow", "seconds": 1.0, "times": 20},)
    ),
    "record.render_submitted": Provocation(
        ({"call": "export", "action": "reset", "done": True, "times": 3},)
    ),
}


@dataclass(slots=True)
class Victim:
    """A worker that is to die, and where."""

    point: str
    passage: int
    process: Process


@dataclass(slots=True)
class Round:
    """All kills in one house."""

    house: House
    env: Mapping[str, str]
    inputs: dict[str, str] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    killed: int = 0

    def run(self, points: Sequence[tuple[str, int]]) -> list[str]:
        """Kill at each point and passage, finish, and say what broke."""
        left = list(points)
        while left:
            group, left = left[:AT_ONCE], left[AT_ONCE:]
            self._kill([self._start(point, passage) for point, passage in group])
        self._finish()
        evidence = gather(
            self.house.ledger,
            self.house.sandbox.ledger(),
            self.house.folder / "output",
            self.inputs,
            [],
        )
        return [f"{point}: never reached" for point in self.missed] + violations(evidence)

    def _start(self, point: str, passage: int) -> Victim:
        number = len(self.house.workers)
        env = {**self.house.env, **self.env, VARIABLE: f"{point}=kill@{passage}"}
        process = Worker(f"victim{number}", self.house.folder / f"victim{number}.log", env)
        self.house.workers.append(process)
        return Victim(point, passage, process)

    def _kill(self, victims: list[Victim]) -> None:
        """Keep the house busy until each of them has died."""
        for victim in victims:
            wanted = PROVOKED.get(victim.point.partition(":")[0], Provocation())
            if wanted.faults:
                self.house.sandbox.misbehave(*wanted.faults)
            for _ in range(WAITING):
                self._submit()
        cancels = any(victim.point.startswith("commit.cancelled") for victim in victims)

        def all_died() -> bool:
            counts = self.house.ledger.counts()[0]
            busy = sum(n for state, n in counts.items() if not state.is_end)
            held = counts.get(State.HELD, 0)
            if busy - held < AT_ONCE:
                self._submit()
            if cancels:
                self._cancel_before_the_message()
            self._mend()
            return not any(victim.process.alive for victim in victims)

        try:
            wait_until(all_died, "victims to die", LIMIT_SECONDS)
        except AssertionError:
            self.missed += [
                f"{victim.point} (passage {victim.passage})"
                for victim in victims
                if victim.process.alive
            ]
        self.killed += sum(not victim.process.alive for victim in victims)
        for victim in victims:
            victim.process.stop()
        self.house.sandbox.behave()

    def _mend(self) -> None:
        """As the owner would: what an account was refused does not stop the next point."""
        for account in self.house.redis.scan_iter("account:{rq}:*"):
            self.house.redis.hdel(account, "refused_at_base", "distrust")

    def _cancel_before_the_message(self) -> None:
        """A person's wish that arrives in the middle of the step that would pay."""
        for job in list(self.house.ledger.jobs(self.house.ledger.recent_ids(20))):
            if job.state is State.GENERATING and job.owner and job.call is None:
                self.house.ledger.cancel(job.id)

    def _submit(self) -> None:
        number = len(self.inputs)
        path = self.house.image(f"p{number}.png", number)
        job_id = f"job-{number}"
        payload = {"image": str(path), "prompt": "a 1-second push-in", "language": "en"}
        self.house.ledger.submit(NewJob(id=job_id, payload=payload, fingerprint=job_id))
        self.inputs[job_id] = hashlib.sha256(path.read_bytes()).hexdigest()

    def _finish(self) -> None:
        """A healthy worker takes over; what only waits for a word is released."""
        self.house.start_worker(**self.env)
        self._mend()

        def settled() -> bool:
            for reason in set(Reason) - {Reason.OUTCOME_UNKNOWN, Reason.SESSION_LOST}:
                for job_id in self.house.ledger.held_ids(reason):
                    self.house.ledger.release(job_id, who="the test")
            counts = self.house.ledger.counts()[0]
            told = not self.house.redis.zcard("outbox:{rq}")
            return told and all(state.is_end or state is State.HELD for state in counts)

        wait_until(settled, "every job to end", 180)


def passages(names: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Both sides of each point, at the first and at the second passage."""
    for passage in (1, 2):
        for name in names:
            for side in ("before", "after"):
                yield f"{name}:{side}", passage


def kill_at(names: Sequence[str], folder: Path, *flags: str, **env: str) -> tuple[Round, list[str]]:
    """One house, and a kill at each of some points."""
    with ExitStack() as stack:
        house = House(folder, stack)
        house.open_sandbox(*flags)
        done = Round(house, env)
        return done, done.run(list(passages(names)))


def main() -> None:
    """Kill at every point, print what became of it, and exit with 1 when a promise broke."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="points to kill at; all if none is named")
    parser.add_argument("--keep", type=Path, help="a folder that stays, with every log")
    asked: Any = parser.parse_args()
    wanted = asked.names or WORKER
    common = [name for name in wanted if name not in ANONYMOUS]
    nameless = [name for name in wanted if name in ANONYMOUS]
    broken, killed, jobs = [], 0, 0
    with tempfile.TemporaryDirectory(prefix="points-") as scratch:
        folder = asked.keep or Path(scratch)
        houses: list[tuple[list[str], tuple[str, ...], dict[str, str]]] = [
            (common, (), {}),
            (
                nameless,
                ("--anonymous-may-render", "--anonymous-credits", "100000", "--token-seconds", "2"),
                {"NEMO_TOKEN": ""},
            ),
        ]
        for number, (names, flags, env) in enumerate(houses):
            if names:
                done, found = kill_at(names, folder / str(number), *flags, **env)
                broken += found
                killed += done.killed
                jobs += len(done.inputs)
    print(  # noqa: T201 - what it is run for
        f"{len(wanted)} points, {killed} workers killed at them, {jobs} jobs, "
        f"{len(INVARIANTS)} invariants checked, {len(broken)} violations"
    )
    for line in broken:
        print(line)  # noqa: T201 - as above
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
