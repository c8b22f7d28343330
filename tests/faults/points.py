"""A kill at every fault point: ``python -m tests.faults.points``.

Workers that die at one named point each, at its first and, in a second round, at its second
passage. Others finish what they left, and the invariants are checked against the ledgers of both
sides. Exit status 1: an invariant broke, or a point was never reached.
"""

import argparse
import hashlib
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.faults.evidence import gather
from tests.faults.invariants import INVARIANTS, violations
from tests.integration.conftest import House
from tests.support.ledger_access import recent_ids
from tests.support.processes import Process, Worker
from tests.support.waiting import wait_until
from tests.support.webhook_receiver import SECRET, Receiver, webhook_receiver
from worker.faultpoints import VARIABLE, WORKER
from worker.ledger.model.states import Reason, State
from worker.ledger.model.submissions import NewJob

AT_ONCE: Final = 4
LIMIT_SECONDS: Final = 120
WAITING: Final = 4
"""Jobs that are kept on their way for each worker that is to die."""

ANONYMOUS_POINTS: Final = ("api.token",)
"""Points that only a house without registered tokens passes."""
WEBHOOK_POINTS: Final = ("lease_receivers", "webhook_due", "webhook_sent", "release_receiver")
"""Points that only a house with webhooks passes."""
RECEIVERS: Final = 8
"""So many that one is free while others wait for the end of a dead worker's turn."""
PAUSE_SECONDS: Final = 2.0
"""So long that a worker is behind with its beats, and so short that it keeps most of its leases."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """What makes a house pass a point that good days do not lead to.

    Attributes:
        faults: Of the stand-in.
        pauses: The victim is frozen now and then, so that it is overloaded as it wakes.
    """

    faults: Sequence[Mapping[str, object]] = ()
    pauses: bool = False


def refuse(call: str, code: int) -> Trigger:
    """A call that is refused now and then, as long as somebody is to die of it."""
    return Trigger(({"call": call, "action": "refuse", "code": code, "ratio": 0.4},))


TRIGGERS: Final[Mapping[str, Trigger]] = {
    "decline": Trigger(pauses=True),
    "release_paid": refuse("message", 429),
    "rate_limited": refuse("message", 429),
    "credits_refused": refuse("message", 2001),
    "token_refused": refuse("session", 1001),
    "commit.preparing": refuse("upload", 500),
    "commit.held": refuse("export", 402),
    "commit.failed": refuse("upload", 4001),
    # Long enough between claim and message for a person to change her mind.
    "commit.cancelled": Trigger(
        ({"call": "state", "action": "slow", "seconds": 1.0, "times": 20},)
    ),
    "update_facts.render_submitted": Trigger(
        ({"call": "export", "action": "reset", "done": True, "ratio": 0.4},)
    ),
}


@dataclass(slots=True)
class Victim:
    """A worker that is to die, and where."""

    point: str
    passage: int
    process: Process
    resumes_at: float = 0.0

    @property
    def trigger(self) -> Trigger:
        """What leads it to its point."""
        return TRIGGERS.get(self.point.partition(":")[0], Trigger())

    def pause_or_resume(self) -> None:
        """Let it sleep as long as a nap, be awake as long, and so on."""
        now = time.monotonic()
        if now < self.resumes_at + PAUSE_SECONDS or " ready." not in self.process.text():
            if now >= self.resumes_at:
                self.process.thaw()
            return
        self.process.freeze()
        self.resumes_at = now + PAUSE_SECONDS


@dataclass(slots=True)
class KillRun:
    """All kills in one house."""

    house: House
    env: Mapping[str, str]
    receivers: Sequence[Receiver] = ()
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
        return [
            *(f"{point}: never reached" for point in self.missed),
            *violations(evidence),
            *self._missing_notifications(),
        ]

    def _missing_notifications(self) -> list[str]:
        """Ends that no receiver heard of."""
        if not self.receivers:
            return []
        heard = {said["data"]["job_id"] for by in self.receivers for _, _, said in by.received}
        return [f"{job_id}: its receiver was never told" for job_id in set(self.inputs) - heard]

    def _start(self, point: str, passage: int) -> Victim:
        number = len(self.house.workers)
        env = {**self.house.env, **self.env, VARIABLE: f"{point}=kill@{passage}"}
        process = Worker(f"victim{number}", self.house.folder / f"victim{number}.log", env)
        self.house.workers.append(process)
        return Victim(point, passage, process)

    def _kill(self, victims: list[Victim]) -> None:
        """Keep the house busy until each of them has died."""
        for victim in victims:
            if victim.trigger.faults:
                self.house.sandbox.misbehave(*victim.trigger.faults)
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
            self._clear_refusals()
            for victim in victims:
                if victim.trigger.pauses and victim.process.alive:
                    victim.pause_or_resume()
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

    def _clear_refusals(self) -> None:
        """As the owner would: what an account was refused does not stop the next point."""
        for account in self.house.redis.scan_iter("account:{rq}:*"):
            self.house.redis.hdel(account, "refused_at_base", "distrust")

    def _cancel_before_the_message(self) -> None:
        """A person's wish that arrives in the middle of the step that would pay."""
        for job in list(self.house.ledger.jobs(recent_ids(self.house.ledger, 20))):
            if job.state is State.GENERATING and job.owner and job.call is None:
                self.house.ledger.cancel(job.id)

    def _submit(self) -> None:
        number = len(self.inputs)
        path = self.house.image(f"p{number}.png", number)
        job_id = f"job-{number}"
        payload = {"image": str(path), "prompt": "a 1-second push-in", "language": "en"}
        if self.receivers:
            payload["webhook"] = self.receivers[number % len(self.receivers)].url
        self.house.ledger.submit(NewJob(id=job_id, payload=payload, fingerprint=job_id))
        self.inputs[job_id] = hashlib.sha256(path.read_bytes()).hexdigest()

    def _finish(self) -> None:
        """A healthy worker takes over; what only waits for a word is released."""
        self.house.start_worker(**self.env)
        self._clear_refusals()

        def settled() -> bool:
            for reason in set(Reason) - {Reason.OUTCOME_UNKNOWN, Reason.SESSION_LOST}:
                for job_id in self.house.ledger.held_ids(reason):
                    self.house.ledger.release(job_id, who="the test")
            counts = self.house.ledger.counts()[0]
            told = not self.house.redis.exists("outbox:{rq}", "receivers:{rq}")
            return told and all(state.is_end or state is State.HELD for state in counts)

        wait_until(settled, "every job to end", 180)


def passages(names: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Both sides of each point, at the first and at the second passage."""
    for passage in (1, 2):
        for name in names:
            for side in ("before", "after"):
                yield f"{name}:{side}", passage


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a house is like in which some of the points are passed."""

    points: Sequence[str]
    flags: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    receivers: int = 0

    def kill(self, names: Sequence[str], folder: Path) -> tuple[KillRun, list[str]]:
        """Kill at each of the given points, and say what broke."""
        with ExitStack() as stack:
            house = House(folder, stack)
            house.open_sandbox(*self.flags)
            receivers = [stack.enter_context(webhook_receiver()) for _ in range(self.receivers)]
            done = KillRun(house, self.env, receivers)
            return done, done.run(list(passages(names)))


SCENARIOS: Final = (
    Scenario([name for name in WORKER if name not in ANONYMOUS_POINTS + WEBHOOK_POINTS]),
    Scenario(
        ANONYMOUS_POINTS,
        ("--anonymous-may-render", "--anonymous-credits", "100000", "--token-seconds", "2"),
        {"NEMO_TOKEN": ""},
    ),
    Scenario(
        WEBHOOK_POINTS,
        env={"REELQUEUE_WEBHOOK_SECRET": SECRET, "REELQUEUE_PRIVATE_HOSTS": "127.0.0.1"},
        receivers=RECEIVERS,
    ),
)


def main() -> None:
    """Kill at every point, print what became of it, and exit with 1 when a promise broke."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="points to kill at; all if none is named")
    parser.add_argument("--keep", type=Path, help="a folder that stays, with every log")
    asked: Any = parser.parse_args()
    wanted = asked.names or WORKER
    broken, killed, jobs = [], 0, 0
    with tempfile.TemporaryDirectory(prefix="points-") as scratch:
        folder = asked.keep or Path(scratch)
        for number, scenario in enumerate(SCENARIOS):
            names = [name for name in wanted if name in scenario.points]
            if names:
                done, found = scenario.kill(names, folder / str(number))
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
