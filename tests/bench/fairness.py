"""Whether a small batch has its share beside a large one: ``python -m tests.bench.fairness``.

One worker, one account. When the large batch is well under way the small one is submitted; what is
counted is how many jobs of the large one start, and end, before those of the small one have. What
is left of the large one is then cancelled.
"""

import argparse
import json
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from tests.bench.submit import write
from tests.integration.conftest import House, passing_house
from tests.support.commands import run_reelqueue
from tests.support.ledger_access import row_ids
from tests.support.waiting import wait_until
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import State

UNDER_WAY = 20
"""The small batch comes when one in so many jobs of the large one is done."""


@dataclass(frozen=True, slots=True)
class FairnessRun:
    """When the jobs of both started and ended, as Redis has it, in ms; each in order.

    Attributes:
        submitted: When the first job of the small batch was there.
        small: Its jobs.
        large: The jobs of the large batch that have started.
    """

    submitted: int
    small: list[Job]
    large: list[Job]

    def started_meanwhile(self, until: int) -> int:
        """How many of the large batch have started since."""
        return sum(self.submitted < (job.started_at or 0) <= until for job in self.large)

    def ended_meanwhile(self, until: int) -> int:
        """How many of the large batch have ended since."""
        return sum(self.submitted < (job.finished_at or 0) <= until for job in self.large)

    @property
    def done_before(self) -> int:
        """How many of the large batch had ended by then."""
        return sum(0 < (job.finished_at or 0) <= self.submitted for job in self.large)

    @property
    def starts(self) -> list[int]:
        """When the small batch's jobs started."""
        return sorted(job.started_at or 0 for job in self.small)

    @property
    def ends(self) -> list[int]:
        """When they ended."""
        return sorted(job.finished_at or 0 for job in self.small)


def measure_fairness(house: House, large: int, small: int, limit: float = 600) -> FairnessRun:
    """Let a batch of ``small`` jobs come behind one of ``large``; the house has a worker."""
    long = _submit(house, "large", large)

    def succeeded(batch_id: str) -> int:
        batch = house.ledger.batch(batch_id)
        return batch.counts.get(State.SUCCEEDED, 0) if batch else 0

    wait_until(lambda: succeeded(long) >= large // UNDER_WAY, "the large batch to get on", limit)
    short = _submit(house, "small", small)
    wait_until(lambda: succeeded(short) == small, "the small batch to end", limit)
    assert run_reelqueue("cancel", long, env=house.env).code == 0
    house.settled()
    mine = list(house.ledger.jobs(row_ids(house.ledger, short)))
    others = [job for job in house.ledger.jobs(row_ids(house.ledger, long)) if job.started_at]
    return FairnessRun(min(job.created_at for job in mine), mine, others)


def _submit(house: House, name: str, rows: int) -> str:
    folder = house.folder / name
    folder.mkdir()
    write(folder / f"{name}.csv", rows)
    prompt = "1-second slow push-in on {name}"
    command = ("batch", "submit", folder / f"{name}.csv", "--prompt", prompt, "--json")
    answer = run_reelqueue(*command, env=house.env)
    assert answer.code == 0, answer.err
    done = json.loads(answer.out)
    assert done["jobs"] == rows
    return str(done["batch_id"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", type=int, default=10_000)
    parser.add_argument("--small", type=int, default=10)
    parser.add_argument("--slots", type=int, default=50)
    parser.add_argument("--stream-seconds", type=float, default=0.2)
    asked = parser.parse_args()
    with passing_house() as house:
        house.open_sandbox("--stream-seconds", f"{asked.stream_seconds:g}", "--clip-height", "64")
        house.start_worker("-c", str(asked.slots), REELQUEUE_ACCOUNT_IN_FLIGHT=str(asked.slots))
        ran = measure_fairness(house, asked.large, asked.small)
    table = Table("of the small batch", "seconds after it was submitted", "large ones meanwhile")
    for what, at, others in (
        ("the first started", ran.starts[0], ran.started_meanwhile(ran.starts[0])),
        ("the last started", ran.starts[-1], ran.started_meanwhile(ran.starts[-1])),
        ("the first ended", ran.ends[0], ran.ended_meanwhile(ran.ends[0])),
        ("the last ended", ran.ends[-1], ran.ended_meanwhile(ran.ends[-1])),
    ):
        did = what.rpartition(" ")[2]
        table.add_row(what, f"{(at - ran.submitted) / 1000:.1f}", f"{others} {did}")
    Console().print(f"{asked.large} jobs, {ran.done_before} of them done when {asked.small} came")
    Console().print(table)


if __name__ == "__main__":
    main()
