"""The whole workflow of a catalog, from the dry run to the gallery.

Starts a Valkey, the stand-in and a worker, and runs the commands that a person runs: the dry run
of a CSV with defective and repeated rows, its submission, the submission of the corrected rejected
rows, and the results in each form. Every row must be accounted for at each step, every clip must be
on disk and paid once.
"""

import csv
import json
import shutil
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from rich.table import Table

from tests.support.commands import run_reelqueue
from tests.support.samples.catalog import Catalog, Mix, correct_rejects, write_catalog
from tests.support.stack import Stack, temporary_stack
from tests.support.waiting import wait_until

OPTIONS = {
    "rows": (1000, "rows of the CSV"),
    "bad": (30, "rows with a defect"),
    "repeated": (20, "rows that repeat an earlier one"),
    "converted": (15, "rows whose picture must be converted"),
    "clip_height": (180, "short side of the clips in pixels"),
    "seed": (1, "seed of the order of the rows"),
    "keep": (None, "a folder to copy the clips and the page to (default: none)"),
}
SLOTS = 50


def run(options: Namespace, _folder: Path) -> Iterator[str | Table]:
    """Run the workflow, and yield what is printed."""
    mix = Mix(options.rows, options.bad, options.repeated, options.converted, side=480)
    with temporary_stack() as stack:
        stack.start_sandbox("--clip-height", str(options.clip_height), "--stream-seconds", "1-3")
        stack.start_worker("-c", str(SLOTS), REELQUEUE_ACCOUNT_IN_FLIGHT=str(SLOTS))
        workflow = run_workflow(stack, mix, options.seed)
        if options.keep:
            shutil.copytree(stack.folder / "output", options.keep, dirs_exist_ok=True)
    yield f"{mix.rows} rows, seed {options.seed}"
    table = Table("step", "result", "seconds")
    for step, result, seconds in workflow.steps:
        table.add_row(step, result, f"{seconds:.1f}" if seconds else "")
    yield table


@dataclass(slots=True)
class Workflow:
    """The steps that were run, each with its result and its duration in seconds."""

    stack: Stack
    steps: list[tuple[str, str, float]] = field(default_factory=list)

    @contextmanager
    def timed(self, step: str) -> Iterator[list[str]]:
        """Measure a step; yields a list that the body adds its results to."""
        results: list[str] = []
        began = time.monotonic()
        yield results
        self.steps.append((step, ", ".join(results), time.monotonic() - began))

    def reelqueue(self, *arguments: object, code: int = 0) -> str:
        """Run a command that must end with this code, and return what it printed."""
        done = run_reelqueue(*arguments, env=self.stack.env)
        assert done.code == code, done.out[-2000:] + done.err[-2000:]
        return done.out


def run_workflow(stack: Stack, mix: Mix, seed: int) -> Workflow:
    """Run the workflow with a catalog of this mix; the stack has a stand-in and a worker.

    Raises:
        AssertionError: A row is not accounted for.
    """
    workflow = Workflow(stack)
    catalog = write_catalog(stack.folder / "catalog", mix, seed)
    wrong = catalog.rejected | catalog.damaged
    with workflow.timed("dry run") as results:
        dry_run = json.loads(
            workflow.reelqueue("batch", "submit", catalog.manifest, "--dry-run", "--json")
        )
        assert dry_run["rows"] == dry_run["good"] + len(dry_run["rejected"]) == mix.rows
        assert {row["row"] for row in dry_run["rejected"]} == wrong
        assert dry_run["duplicates"] == len(catalog.repeated) == mix.repeated
        assert dry_run["credits"] == 100 * len(catalog.good)
        results += [
            f"{dry_run['good']} good",
            f"{len(wrong)} rejected",
            f"{dry_run['duplicates']} repeated",
        ]
        assert stack.ledger.counts() == ({}, {}), "a dry run writes nothing"
    batch_id = _submit(workflow, catalog, mix)
    rejects = catalog.manifest.with_name("catalog.rejected.csv")
    correct_rejects(rejects, mix.side)
    corrected = ("batch", "submit", rejects, "--name", catalog.manifest.name)
    with workflow.timed(
        "rejected rows corrected and submitted, until all clips are done"
    ) as results:
        # The worker finds damaged pictures: their jobs fail, and so does the command.
        batch = json.loads(workflow.reelqueue(*corrected, "--wait", "--json", code=1))
        clips = len(catalog.good) + len(catalog.rejected)
        assert (batch["batch_id"], batch["total"]) == (batch_id, clips + len(catalog.damaged))
        assert (batch["succeeded"], batch["failed"]) == (clips, len(catalog.damaged))
        assert batch["credits_spent"] == 100 * clips
        results += [f"{clips} succeeded", f"{batch['failed']} failed"]
    with workflow.timed("everything submitted again") as results:
        for command in (("batch", "submit", catalog.manifest), corrected):
            answer = json.loads(workflow.reelqueue(*command, "--json"))
            assert answer["jobs"] == 0
            results.append(f"{answer['duplicates']} known")
    _results(workflow, catalog, batch_id)
    _ledger(workflow, clips)
    return workflow


def _submit(workflow: Workflow, catalog: Catalog, mix: Mix) -> str:
    with workflow.timed("submitted") as results:
        done = json.loads(workflow.reelqueue("batch", "submit", catalog.manifest, "--json"))
        assert done["jobs"] + done["duplicates"] + len(done["rejected"]) == mix.rows
        assert done["duplicates"] == len(catalog.repeated)
        assert {row["row"] for row in done["rejected"]} == catalog.rejected
        results += [f"{done['jobs']} jobs", f"{done['duplicates']} duplicates"]
        results.append(f"{len(done['rejected'])} rejected")
    return str(done["batch_id"])


def _results(workflow: Workflow, catalog: Catalog, batch_id: str) -> None:
    """Check that each form has each row that is a job, and that each clip is where it says."""
    folder = workflow.stack.folder
    with workflow.timed("results as JSONL"):
        records = [
            json.loads(line) for line in workflow.reelqueue("results", batch_id).splitlines()
        ]
    clips = catalog.good | catalog.rejected
    states = {record["row"]: record["state"] for record in records}
    # A row that repeats another one shares its job, and has a line of its own.
    lines = clips | catalog.repeated
    assert len(records) == len(states) == len(lines) + len(catalog.damaged)
    assert {row for row, state in states.items() if state == "succeeded"} == lines
    failed = [record for record in records if record["state"] == "failed"]
    assert {record["row"] for record in failed} == catalog.damaged
    assert all(record["reason"]["code"] == "bad_image" for record in failed)
    changed = {record["row"] for record in records if _converted(record)}
    assert changed - catalog.repeated == catalog.converted
    files = {record["row"]: Path(record["video"]["path"]) for record in records if record["video"]}
    assert len(set(files.values())) == len(clips)
    for record in records:
        if record["video"]:
            content = files[record["row"]].read_bytes()
            assert sha256(content).hexdigest() == record["video"]["sha256"]
            assert record["paid_messages"] == 1
    table = folder / "results.csv"
    batch_index = next(iter(files.values())).with_name("manifest.csv")
    wait_until(batch_index.exists, "manifest.csv beside the clips")
    with workflow.timed("results as CSV"):
        workflow.reelqueue("results", batch_id, "--format", "csv", "-o", table)
    assert batch_index.read_bytes() == table.read_bytes()
    with table.open(encoding="utf-8-sig", newline="") as file:
        assert {int(row["row"]): row["state"] for row in csv.DictReader(file)} == states
    page = folder / "output" / "page.html"
    with workflow.timed("results as a page") as results:
        workflow.reelqueue("results", batch_id, "--format", "html", "-o", page)
        results.append(f"{page.stat().st_size / 1e6:.1f} MB")
    entries = _entries(page)
    assert {entry["row"]: entry["state"] for entry in entries} == states
    shown = {
        entry["row"]: page.parent / entry["clip"]["src"] for entry in entries if entry.get("clip")
    }
    assert {row: path.resolve() for row, path in shown.items()} == {
        row: path.resolve() for row, path in files.items()
    }


def _converted(record: dict[str, Any]) -> bool:
    return any("converted" in change for change in record["changes"])


def _entries(page: Path) -> list[dict[str, Any]]:
    text = page.read_text(encoding="utf-8")
    _, _, rest = text.partition('<script type="application/json" id="jobs">')
    found: list[dict[str, Any]] = json.loads(rest.partition("</script>")[0])
    return found


def _ledger(workflow: Workflow, clips: int) -> None:
    """Check that each picture was paid once, and that every completed render was downloaded."""
    paid = Counter(workflow.stack.messages_by_image().values())
    assert paid == {1: clips}
    renders = workflow.stack.sandbox.ledger()["renders"]
    assert all(render["downloads"] for render in renders if render["status"] == "completed")
    workflow.steps.append(("paid messages, by the stand-in", f"{clips}, each picture once", 0))
