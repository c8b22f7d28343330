"""The report of a campaign: the injected faults, and the results of the jobs."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.faults.evidence import Evidence
from tests.faults.invariants import INVARIANTS, paid_once_per_input
from tests.faults.takeovers import Outage, median_and_p99, outside_outages, takeovers
from worker.ledger.model.states import State

SHOWN_EACH: Final = 3
"""Violations of one invariant that are printed."""


@dataclass(frozen=True, slots=True)
class Run:
    """What is reported of a campaign besides its evidence."""

    seed: int
    seconds: float
    lease: float
    faults: Mapping[str, int]
    lost: Mapping[str, int]
    released: int
    adopted: int
    outages: Sequence[Outage]


def show(
    run: Run, evidence: Evidence, violations: Sequence[str], details: Iterable[str] = ()
) -> None:
    """Print the table, the details, and the first violations of each invariant.

    The end of a long output is all that some systems show. So the seed is repeated there.
    """
    console = Console(width=100)
    table = Table("what", "figure", title=f"Fault campaign, seed {run.seed}")
    for name, number in run.faults.items():
        table.add_row(f"fault: {name}", str(number))
    for name, number in run.lost.items():
        table.add_row(f"  {name}", str(number))
    table.add_section()
    table.add_row("jobs submitted", str(len(evidence.inputs)))
    answers = f"{len(evidence.submissions)}, {len(evidence.answers)}"
    table.add_row("  by Celery message, answered", answers)
    states = Counter(job["state"] for job in evidence.jobs.values())
    for state, number in sorted(states.items()):
        table.add_row(f"jobs {state}", str(number))
    for reason, number in Counter(_reasons(evidence)).items():
        table.add_row(f"  {reason}", str(number))
    table.add_row("poison jobs released during the run", str(run.released))
    table.add_section()
    _add_money(table, evidence)
    table.add_row("payments adopted from the journal", str(run.adopted))
    table.add_section()
    _add_lateness(table, run, evidence)
    table.add_section()
    table.add_row("invariants checked, samples of the counters", _checked(evidence))
    table.add_row("duration", f"{run.seconds:.0f} s")
    table.add_row("violations", str(len(violations)))
    console.print(table)
    for line in itertools.chain(details, _first_of_each(violations)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if violations:
        console.print(f"Run it again with --seed {run.seed}", highlight=False)


def _first_of_each(violations: Iterable[str]) -> Iterator[str]:
    """Yield the first violations of each invariant, and how many more there are."""
    for name, group in itertools.groupby(violations, lambda line: line.partition(":")[0]):
        lines = list(group)
        yield from lines[:SHOWN_EACH]
        if more := len(lines[SHOWN_EACH:]):
            yield f"{name}: {more} more"


def _add_money(table: Table, evidence: Evidence) -> None:
    sent = evidence.sent
    asked = sum(m["outcome"] == "question" for m in sent)
    decided = sum(evidence.decided.values())
    made = [render for render in evidence.renders if render["status"] == "completed"]
    table.add_row("paid messages, inputs", f"{len(sent)}, {len(evidence.inputs)}")
    table.add_row("  of them answered by a question, decided by a person", f"{asked}, {decided}")
    table.add_row("inputs paid twice", str(sum(1 for _ in paid_once_per_input(evidence))))
    table.add_row(
        "sessions with a completed render, clips delivered",
        f"{len({render['session_id'] for render in made})}, {len(evidence.clips)}",
    )
    table.add_row("  clips stored twice, after a loss", str(len(evidence.stored_twice)))
    table.add_row("completed renders", str(len(made)))


def _add_lateness(table: Table, run: Run, evidence: Evidence) -> None:
    found = list(takeovers(evidence.jobs.values()))
    calm = outside_outages(found, run.outages)
    table.add_row("expired leases that were taken over", str(len(found)))
    table.add_row("  with Redis reachable all the time", str(len(calm)))
    goal = f"median, p99 (goal ≤ {run.lease / 2:g} s)"
    for name, seconds in {
        f"lease end to next claim: {goal}": [t.since_grace for t in found],
        "  with Redis reachable all the time": [t.since_grace for t in calm],
        "  of all, with the grace period after outages": [t.since_lease for t in found],
    }.items():
        table.add_row(name, median_and_p99(seconds))


def _reasons(evidence: Evidence) -> list[str]:
    return [
        f"{job['state']}: {job['reason']}"
        for job in evidence.in_state(State.HELD, State.FAILED).values()
    ]


def _checked(evidence: Evidence) -> str:
    return f"{len(INVARIANTS)}, {len(evidence.samples)}"
