"""Kills at every fault point: ``python -m tests.faults.points``.

Each worker is killed at one named point, at its first or its second passage. Other workers finish
the jobs that were left, and the invariants are checked against the job records and the ledger of
the stand-in. The exit status is 1 if an invariant is violated or a point was never reached.
"""

import argparse
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
from tests.faults.load import submit_job
from tests.support.ledger_access import recent_ids
from tests.support.processes import Process, Worker
from tests.support.stack import Stack, describe
from tests.support.waiting import wait_until
from tests.support.webhook_receiver import SECRET, Receiver, webhook_receiver
from worker.faultpoints import VARIABLE, WORKER
from worker.journal.journal import Journal
from worker.ledger.model.states import Reason, State
from worker.ledger.payments import Payments

GROUP_SIZE: Final = 4
LIMIT_SECONDS: Final = 120
JOBS_PER_VICTIM: Final = 4
"""Jobs that are submitted for each worker that is to be killed."""

ANONYMOUS_POINTS: Final = ("api.token",)
"""Points that only workers without a registered token pass."""
WEBHOOK_POINTS: Final = ("lease_receivers", "webhook_due", "webhook_sent", "release_receiver")
"""Points that only workers with webhooks to send pass."""
INTAKE_POINTS: Final = ("intake",)
"""Points that only submissions by message pass: tests/integration/test_intake_faults.py."""
JOURNAL_POINTS: Final = (
    *("adopt", "restore_end", "set_identity"),
    *("journal.identity", "journal.next", "set_clock"),
)
"""Points that only a loss of Redis, a new journal, a further message in a session or a clock that
is set leads to: tests/integration/test_payment_journal.py, tests/integration/test_recovery.py."""
RECEIVERS: Final = 8
"""Enough for one to be free while others wait until the lease of a killed worker expires."""
PAUSE_SECONDS: Final = 2.0
"""Long enough for a worker to be late with heartbeats, short enough to keep most of its leases."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """What makes workers pass a point that they do not pass without faults.

    Attributes:
        faults: Faults of the stand-in.
        pauses: Whether the victim is frozen from time to time, so that it is overloaded when it
            resumes.
    """

    faults: Sequence[Mapping[str, object]] = ()
    pauses: bool = False


def refuse(call: str, code: int) -> Trigger:
    """Refuse two in five of the calls while there is a victim."""
    return Trigger(({"call": call, "action": "refuse", "code": code, "ratio": 0.4},))


TRIGGERS: Final[Mapping[str, Trigger]] = {
    "decline": Trigger(pauses=True),
    "withdraw_intent": refuse("message", 429),
    "journal.mark": refuse("message", 429),
    "rate_limited": refuse("message", 429),
    "credits_refused": refuse("message", 2001),
    "token_refused": refuse("session", 1001),
    "commit.preparing": refuse("upload", 500),
    "commit.held": refuse("export", 402),
    "commit.failed": refuse("upload", 4001),
    # Leaves time between claim and message for a cancellation.
    "commit.cancelled": Trigger(
        ({"call": "state", "action": "slow", "seconds": 1.0, "ratio": 1.0},)
    ),
    "update_facts.render_submitted": Trigger(
        ({"call": "export", "action": "reset", "done": True, "ratio": 0.4},)
    ),
}


@dataclass(slots=True)
class Victim:
    """A worker that is to be killed, and at which passage of which point."""

    point: str
    passage: int
    process: Process
    resumes_at: float = 0.0

    @property
    def trigger(self) -> Trigger:
        """What makes it pass its point."""
        return TRIGGERS.get(self.point.partition(":")[0], Trigger())

    def pause_or_resume(self) -> None:
        """Freeze it and resume it in turn, each for the same time."""
        now = time.monotonic()
        if now < self.resumes_at + PAUSE_SECONDS or not self.process.is_ready:
            if now >= self.resumes_at:
                self.process.resume()
            return
        self.process.freeze()
        self.resumes_at = now + PAUSE_SECONDS


@dataclass(slots=True)
class KillRun:
    """All kills in one scenario."""

    stack: Stack
    env: Mapping[str, str]
    receivers: Sequence[Receiver] = ()
    inputs: dict[str, str] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    killed: int = 0

    def run(self, points: Sequence[tuple[str, int]]) -> list[str]:
        """Kill at each point and passage, let all jobs end, and return the violations."""
        left = list(points)
        while left:
            group, left = left[:GROUP_SIZE], left[GROUP_SIZE:]
            self._kill([self._start(point, passage) for point, passage in group])
        self._finish()
        evidence = gather(
            self.stack.ledger,
            Journal.open((self.stack.folder / "media" / ".journal").as_uri(), "rq"),
            sandbox_ledger=self.stack.sandbox.ledger(),
            output=self.stack.folder / "output",
            inputs=self.inputs,
        )
        return [
            *(f"{point}: never reached" for point in self.missed),
            *violations(evidence),
            *self._missing_notifications(),
        ]

    def _missing_notifications(self) -> list[str]:
        """Return the jobs whose end no receiver was notified of."""
        if not self.receivers:
            return []
        sent = [event for receiver in self.receivers for _, _, event in receiver.received]
        missing = set(self.inputs) - {event["data"]["job_id"] for event in sent}
        return [f"{job_id}: its receiver was never notified" for job_id in missing]

    def _start(self, point: str, passage: int) -> Victim:
        number = len(self.stack.workers)
        env = {**self.stack.env, **self.env, VARIABLE: f"{point}=kill@{passage}"}
        process = Worker(f"victim{number}", self.stack.folder / f"victim{number}.log", env)
        self.stack.workers.append(process)
        return Victim(point, passage, process)

    def _kill(self, victims: list[Victim]) -> None:
        """Keep workers busy until all victims are dead."""
        for victim in victims:
            if victim.trigger.faults:
                self.stack.sandbox.inject_faults(*victim.trigger.faults)
            for _ in range(JOBS_PER_VICTIM):
                self._submit()
        cancels = any(victim.point.startswith("commit.cancelled") for victim in victims)

        def all_died() -> bool:
            counts = self.stack.ledger.counts()[0]
            busy = sum(n for state, n in counts.items() if not state.is_end)
            held = counts.get(State.HELD, 0)
            if busy - held < GROUP_SIZE:
                self._submit()
            if cancels:
                self._cancel_before_the_message()
            self._clear_refusals()
            for victim in victims:
                if victim.trigger.pauses and victim.process.alive:
                    victim.pause_or_resume()
            return not any(victim.process.alive for victim in victims)

        try:
            wait_until(all_died, "all victims to die", LIMIT_SECONDS)
        except AssertionError:
            self.missed += [
                f"{victim.point} (passage {victim.passage})"
                for victim in victims
                if victim.process.alive
            ]
        self.killed += sum(not victim.process.alive for victim in victims)
        for victim in victims:
            victim.process.stop()
        self.stack.sandbox.clear_faults()

    def _clear_refusals(self) -> None:
        """Forget what accounts were refused, so that it does not affect the next point."""
        for account in self.stack.redis.scan_iter("account:{rq}:*"):
            self.stack.redis.hdel(account, "refused_at_base", "distrust")
            Payments(self.stack.ledger).clear_plan_refused(account.rpartition(":")[2])

    def _cancel_before_the_message(self) -> None:
        """Request the cancellation of jobs whose current step is about to pay."""
        for job in list(self.stack.ledger.jobs(recent_ids(self.stack.ledger, 20))):
            if job.state is State.GENERATING and job.owner and job.call is None:
                self.stack.ledger.cancel(job.id)

    def _submit(self) -> None:
        number = len(self.inputs)
        webhook = {}
        if self.receivers:
            webhook["webhook"] = self.receivers[number % len(self.receivers)].url
        job_id, sha256 = submit_job(self.stack.ledger, self.stack.folder, number, **webhook)
        self.inputs[job_id] = sha256

    def _finish(self) -> None:
        """Start a worker that finishes all jobs; release what is held for a repairable reason."""
        self.stack.start_worker(**self.env)
        self._clear_refusals()

        def settled() -> bool:
            for reason in set(Reason) - {Reason.OUTCOME_UNKNOWN, Reason.SESSION_LOST}:
                for job_id in self.stack.ledger.held_ids(reason):
                    self.stack.ledger.release(job_id, who="the test")
            counts = self.stack.ledger.counts()[0]
            notified = not self.stack.redis.exists("outbox:{rq}", "receivers:{rq}")
            return notified and all(state.is_end or state is State.HELD for state in counts)

        wait_until(settled, "every job to end", 300, lambda: describe(self.stack))


def passages(names: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield both sides of each point, with the first and with the second passage."""
    for passage in (1, 2):
        for name in names:
            for side in ("before", "after"):
                yield f"{name}:{side}", passage


@dataclass(frozen=True, slots=True)
class Scenario:
    """The conditions under which some of the points are passed."""

    points: Sequence[str]
    flags: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    receivers: int = 0

    def kill(self, names: Sequence[str], folder: Path) -> tuple[KillRun, list[str]]:
        """Kill at each of the given points, and return the run and the violations."""
        with ExitStack() as resources:
            stack = Stack(folder, resources)
            stack.start_sandbox(*self.flags)
            receivers = [resources.enter_context(webhook_receiver()) for _ in range(self.receivers)]
            done = KillRun(stack, self.env, receivers)
            return done, done.run(list(passages(names)))


SCENARIOS: Final = (
    Scenario(
        [
            name
            for name in WORKER
            if name not in ANONYMOUS_POINTS + WEBHOOK_POINTS + INTAKE_POINTS + JOURNAL_POINTS
        ],
        # Longer than an interval of the polls, so that a render goes on after one.
        ("--render-seconds", "0.5"),
    ),
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
    """Kill at every point, print the violations, and exit with 1 if there are any."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.points", description=__doc__)
    parser.add_argument("names", nargs="*", help="points to kill at (default: all)")
    parser.add_argument(
        "--keep",
        type=Path,
        help="a folder that is kept, with all logs (default: a temporary folder)",
    )
    options: Any = parser.parse_args()
    wanted = options.names or [
        name for name in WORKER if name not in INTAKE_POINTS + JOURNAL_POINTS
    ]
    broken, killed, jobs = [], 0, 0
    with tempfile.TemporaryDirectory(prefix="points-") as scratch:
        folder = options.keep or Path(scratch)
        for number, scenario in enumerate(SCENARIOS):
            names = [name for name in wanted if name in scenario.points]
            if names:
                done, found = scenario.kill(names, folder / str(number))
                broken += found
                killed += done.killed
                jobs += len(done.inputs)
    print(  # noqa: T201 - the report
        f"{len(wanted)} points, {killed} workers killed at them, {jobs} jobs, "
        f"{len(INVARIANTS)} invariants checked, {len(broken)} violations"
    )
    for line in broken:
        print(line)  # noqa: T201 - the report
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
