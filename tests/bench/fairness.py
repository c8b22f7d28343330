"""Whether a small batch gets its share beside a large one.

One worker and one account process a large batch. When it is well under way, a small batch is
submitted. What is counted is how many jobs of the large batch start, and end, before those of the
small batch have. The rest of the large batch is then cancelled.
"""

import json
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from tests.bench.submit import write_manifest
from tests.support.commands import run_reelqueue
from tests.support.ledger_access import row_ids
from tests.support.stack import Stack, temporary_stack
from tests.support.waiting import wait_until
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import State

OPTIONS = {
    "large": (10_000, "jobs of the large batch"),
    "small": (10, "jobs of the small batch"),
    "slots": (50, "jobs that the worker runs at the same time"),
    "stream_seconds": (0.2, "duration of a message's stream"),
}
SUBMIT_AFTER = 20
"""The small batch is submitted when one in this many jobs of the large batch has succeeded."""


@dataclass(frozen=True, slots=True)
class FairnessRun:
    """The jobs of both batches, with the moments of their starts and ends in ms.

    Attributes:
        submitted: When the first job of the small batch was submitted.
        small: Its jobs.
        large: The jobs of the large batch that have started.
    """

    submitted: int
    small: list[Job]
    large: list[Job]

    def started_meanwhile(self, until: int) -> int:
        """Return how many jobs of the large batch started after the submission."""
        return sum(self.submitted < (job.started_at or 0) <= until for job in self.large)

    def ended_meanwhile(self, until: int) -> int:
        """Return how many jobs of the large batch ended after the submission."""
        return sum(self.submitted < (job.finished_at or 0) <= until for job in self.large)

    @property
    def done_before(self) -> int:
        """How many jobs of the large batch had ended before the submission."""
        return sum(0 < (job.finished_at or 0) <= self.submitted for job in self.large)

    @property
    def starts(self) -> list[int]:
        """When the jobs of the small batch started, in order."""
        return sorted(job.started_at or 0 for job in self.small)

    @property
    def ends(self) -> list[int]:
        """When the jobs of the small batch ended, in order."""
        return sorted(job.finished_at or 0 for job in self.small)


def run(options: Namespace, _folder: Path) -> Iterator[str | Table]:
    """Measure, and yield what is printed."""
    slots = str(options.slots)
    with temporary_stack() as stack:
        stack.start_sandbox("--stream-seconds", str(options.stream_seconds), "--clip-height", "64")
        stack.start_worker("-c", slots, REELQUEUE_ACCOUNT_IN_FLIGHT=slots)
        found = measure_fairness(stack, options.large, options.small)
    yield f"{options.large} jobs, {found.done_before} of them done when {options.small} came"
    table = Table("of the small batch", "seconds after its submission", "of the large batch since")
    for which, at in (("first", 0), ("last", -1)):
        moment = found.starts[at]
        seconds, others = (moment - found.submitted) / 1000, found.started_meanwhile(moment)
        table.add_row(f"{which} start", f"{seconds:.1f}", f"{others} started")
    for which, at in (("first", 0), ("last", -1)):
        moment = found.ends[at]
        seconds, others = (moment - found.submitted) / 1000, found.ended_meanwhile(moment)
        table.add_row(f"{which} end", f"{seconds:.1f}", f"{others} ended")
    yield table


def measure_fairness(stack: Stack, large: int, small: int, limit: float = 600) -> FairnessRun:
    """Submit a batch of ``small`` jobs behind one of ``large``; the stack has a worker."""
    long = _submit(stack, "large", large)

    def succeeded(batch_id: str) -> int:
        batch = stack.ledger.batch(batch_id)
        return batch.counts.get(State.SUCCEEDED, 0) if batch else 0

    first = large // SUBMIT_AFTER
    wait_until(lambda: succeeded(long) >= first, f"{first} jobs of the large batch", limit)
    short = _submit(stack, "small", small)
    wait_until(lambda: succeeded(short) == small, "the end of the small batch", limit)
    assert run_reelqueue("cancel", long, env=stack.env).code == 0
    stack.wait_until_idle()
    mine = list(stack.ledger.jobs(row_ids(stack.ledger, short)))
    others = [job for job in stack.ledger.jobs(row_ids(stack.ledger, long)) if job.started_at]
    return FairnessRun(min(job.created_at for job in mine), mine, others)


def _submit(stack: Stack, name: str, rows: int) -> str:
    folder = stack.folder / name
    folder.mkdir()
    write_manifest(folder / f"{name}.csv", rows)
    prompt = "1-second slow push-in on {name}"
    command = ("batch", "submit", folder / f"{name}.csv", "--prompt", prompt, "--json")
    answer = run_reelqueue(*command, env=stack.env)
    assert answer.code == 0, answer.err
    done = json.loads(answer.out)
    assert done["jobs"] == rows
    return str(done["batch_id"])
