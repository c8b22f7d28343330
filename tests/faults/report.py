"""The table of a campaign: what was done to the service, and what became of its jobs."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from tests.faults.evidence import Evidence
from tests.faults.invariants import INVARIANTS
from worker.ledger.states import State


@dataclass(frozen=True, slots=True)
class Run:
    """What is told of a campaign besides its evidence."""

    seed: int
    seconds: float
    lease: float
    faults: Mapping[str, int]
    released: int


def lateness(evidence: Evidence) -> tuple[list[float], list[float]]:
    """Seconds from the end of a dead owner's lease to the next claim.

    Returns:
        Sorted: as they were, and less the grace that all leases are given after an outage.
    """
    raw, owed = [], []
    for job in evidence.jobs.values():
        for name, value in job.items():
            if name.startswith("late:"):
                since_lease, since_grace = value.split()[:2]
                raw.append(int(since_lease) / 1000)
                owed.append(int(since_grace) / 1000)
    return sorted(raw), sorted(owed)


def show(run: Run, evidence: Evidence, broken: Sequence[str]) -> None:
    """Print the table, then what was broken."""
    console = Console(width=100)
    table = Table("what", "figure", title=f"Fault campaign, seed {run.seed}")
    for name, number in run.faults.items():
        table.add_row(f"fault: {name}", str(number))
    table.add_section()
    table.add_row("jobs submitted", str(len(evidence.inputs)))
    states = Counter(job["state"] for job in evidence.jobs.values())
    for state, number in sorted(states.items()):
        table.add_row(f"jobs {state}", str(number))
    for reason, number in Counter(_reasons(evidence)).items():
        table.add_row(f"  of them for {reason}", str(number))
    table.add_row("poisoned jobs released meanwhile", str(run.released))
    table.add_section()
    _add_money(table, evidence)
    table.add_section()
    _add_lateness(table, run, evidence)
    table.add_section()
    table.add_row("invariants checked, samples of the counters", _checked(evidence))
    table.add_row("took", f"{run.seconds:.0f} s")
    table.add_row("violations", str(len(broken)))
    console.print(table)
    for line in broken:
        console.print(line, markup=False)


def _add_money(table: Table, evidence: Evidence) -> None:
    sent = [m for m in evidence.messages if m["outcome"] != "refused"]
    asked = sum(m["outcome"] == "question" for m in sent)
    twice = Counter(m["image_sha256"] for m in sent if m["outcome"] != "question")
    made = [render for render in evidence.renders if render["status"] == "completed"]
    delivered = len(evidence.clips)
    table.add_row(
        "paid messages (answered questions apart), inputs",
        f"{len(sent) - asked}, {len(evidence.inputs)}",
    )
    table.add_row("inputs paid twice", str(sum(n > 1 for n in twice.values())))
    table.add_row(
        "sessions with a completed render, clips delivered",
        f"{len({render['session_id'] for render in made})}, {delivered}",
    )
    table.add_row("renders completed in all", str(len(made)))


def _add_lateness(table: Table, run: Run, evidence: Evidence) -> None:
    raw, owed = lateness(evidence)
    table.add_row("leases that ran out and were taken over", str(len(raw)))
    if len(raw) > 1:
        name = "from a lease's end to the next claim: median, p99"
        table.add_row(f"{name} (goal ≤ {run.lease / 2:g} s)", _quantiles(owed))
        table.add_row("  with the grace after each outage of Redis", _quantiles(raw))


def _quantiles(seconds: Sequence[float]) -> str:
    p99 = seconds[min(len(seconds) - 1, int(len(seconds) * 0.99))]
    return f"{statistics.median(seconds):.2f} s, {p99:.2f} s"


def _reasons(evidence: Evidence) -> list[str]:
    return [
        f"{job['reason']} ({job['state']})"
        for job in evidence.in_state(State.HELD, State.FAILED).values()
    ]


def _checked(evidence: Evidence) -> str:
    return f"{len(INVARIANTS)}, {len(evidence.samples)}"
