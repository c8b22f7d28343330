"""A catalog's whole way, from the dry run to the gallery: ``python -m tests.bench.catalog``.

Starts a Valkey, the stand-in and a worker, and goes the way that a person goes, by the command
line: a trial of a CSV with bad and repeated rows, its submission, the rejected rows mended and
submitted again, and the results in each form. Every row must be accounted for at each step, every
clip must lie on disk and be paid once. ``--keep FOLDER`` keeps the clips and the page.
"""

import argparse
import csv
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.integration.conftest import House, passing_house
from tests.support.catalog import Catalog, Mix, correct_rejects, write_catalog
from tests.support.commands import run_reelqueue
from tests.support.waiting import wait_until

SLOTS = 50


@dataclass(slots=True)
class Workflow:
    """One way through, and what was seen on it: what was done, what came of it, and seconds."""

    house: House
    seen: list[tuple[str, str, float]] = field(default_factory=list)

    @contextmanager
    def timed(self, what: str) -> Iterator[list[str]]:
        """Note a step, and what the body says of it."""
        said: list[str] = []
        began = time.monotonic()
        yield said
        self.seen.append((what, ", ".join(said), time.monotonic() - began))

    def reelqueue(self, *arguments: object, code: int = 0) -> str:
        """Run a command that must end with this code; what it printed."""
        done = run_reelqueue(*arguments, env=self.house.env)
        assert done.code == code, done.out[-2000:] + done.err[-2000:]
        return done.out


def run_workflow(house: House, mix: Mix, seed: int) -> Workflow:
    """Go the way with a catalog of this mix; the house has a stand-in and a worker.

    Raises:
        AssertionError: A row is not accounted for.
    """
    workflow = Workflow(house)
    catalog = write_catalog(house.folder / "catalog", mix, seed)
    wrong = catalog.rejected | catalog.damaged
    with workflow.timed("dry run") as said:
        trial = json.loads(
            workflow.reelqueue("batch", "submit", catalog.manifest, "--dry-run", "--json")
        )
        assert trial["rows"] == trial["good"] + len(trial["rejected"]) == mix.rows
        assert {row["row"] for row in trial["rejected"]} == wrong
        assert trial["duplicates"] == len(catalog.again) == mix.again
        assert trial["credits"] == 100 * len(catalog.good)
        said += [f"{trial['good']} good", f"{len(wrong)} rejected", f"{trial['duplicates']} again"]
        assert house.ledger.counts() == ({}, {}), "a dry run writes nothing"
    batch_id = _submit(workflow, catalog, mix)
    rejects = catalog.manifest.with_name("catalog.rejected.csv")
    correct_rejects(rejects, mix.side)
    mended = ("batch", "submit", rejects, "--name", catalog.manifest.name)
    with workflow.timed(
        "the rejected rows mended and submitted, until every clip is there"
    ) as said:
        # Damaged pictures are found by the worker: their jobs fail, and so does the command.
        batch = json.loads(workflow.reelqueue(*mended, "--wait", "--json", code=1))
        clips = len(catalog.good) + len(catalog.rejected)
        assert (batch["batch_id"], batch["total"]) == (batch_id, clips + len(catalog.damaged))
        assert (batch["succeeded"], batch["failed"]) == (clips, len(catalog.damaged))
        assert batch["credits_spent"] == 100 * clips
        said += [f"{clips} succeeded", f"{batch['failed']} failed"]
    with workflow.timed("everything submitted once more") as said:
        for again in (("batch", "submit", catalog.manifest), mended):
            answer = json.loads(workflow.reelqueue(*again, "--json"))
            assert answer["jobs"] == 0
            said.append(f"{answer['duplicates']} known")
    _results(workflow, catalog, batch_id)
    _ledger(workflow, clips)
    return workflow


def _submit(workflow: Workflow, catalog: Catalog, mix: Mix) -> str:
    with workflow.timed("submitted") as said:
        done = json.loads(workflow.reelqueue("batch", "submit", catalog.manifest, "--json"))
        assert done["jobs"] + done["duplicates"] + len(done["rejected"]) == mix.rows
        assert done["duplicates"] == len(catalog.again)
        assert {row["row"] for row in done["rejected"]} == catalog.rejected
        said += [f"{done['jobs']} jobs", f"{done['duplicates']} duplicates"]
        said.append(f"{len(done['rejected'])} rejected")
    return str(done["batch_id"])


def _results(workflow: Workflow, catalog: Catalog, batch_id: str) -> None:
    """Each form holds each row that is a job, and each clip lies where the record says."""
    folder = workflow.house.folder
    with workflow.timed("results as JSONL"):
        records = [
            json.loads(line) for line in workflow.reelqueue("results", batch_id).splitlines()
        ]
    clips = catalog.good | catalog.rejected
    states = {record["row"]: record["state"] for record in records}
    assert len(records) == len(states) == len(clips) + len(catalog.damaged)
    assert {row for row, state in states.items() if state == "succeeded"} == clips
    failed = [record for record in records if record["state"] == "failed"]
    assert {record["row"] for record in failed} == catalog.damaged
    assert all(record["reason"]["code"] == "bad_image" for record in failed)
    changed = {record["row"] for record in records if _converted(record)}
    assert changed == catalog.converted
    files = {record["row"]: Path(record["video"]["path"]) for record in records if record["video"]}
    assert len(set(files.values())) == len(clips)
    for record in records:
        if record["video"]:
            content = files[record["row"]].read_bytes()
            assert sha256(content).hexdigest() == record["video"]["sha256"]
            assert record["paid_messages"] == 1
    table = folder / "results.csv"
    inventory = next(iter(files.values())).with_name("manifest.csv")
    wait_until(inventory.exists, "the table beside the clips")
    with workflow.timed("results as CSV"):
        workflow.reelqueue("results", batch_id, "--format", "csv", "-o", table)
    assert inventory.read_bytes() == table.read_bytes()
    with table.open(encoding="utf-8", newline="") as file:
        assert {int(row["row"]): row["state"] for row in csv.DictReader(file)} == states
    page = folder / "output" / "page.html"
    with workflow.timed("results as a page") as said:
        workflow.reelqueue("results", batch_id, "--format", "html", "-o", page)
        said.append(f"{page.stat().st_size / 1e6:.1f} MB")
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
    """The stand-in was paid once for each picture, and every render of it was fetched."""
    paid = Counter(workflow.house.messages_by_image().values())
    assert paid == {1: clips}
    renders = workflow.house.sandbox.ledger()["renders"]
    assert all(render["downloads"] for render in renders if render["status"] == "completed")
    workflow.seen.append(("paid messages, by the stand-in", f"{clips}, each picture once", 0))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--bad", type=int, default=30)
    parser.add_argument("--again", type=int, default=20)
    parser.add_argument("--converted", type=int, default=15)
    parser.add_argument("--clip-height", type=int, default=180)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    mix = Mix(asked.rows, asked.bad, asked.again, asked.converted, side=480)
    with passing_house() as house:
        house.open_sandbox("--clip-height", str(asked.clip_height), "--stream-seconds", "1-3")
        house.start_worker("-c", str(SLOTS), REELQUEUE_ACCOUNT_IN_FLIGHT=str(SLOTS))
        workflow = run_workflow(house, mix, asked.seed)
        if asked.keep:
            shutil.copytree(house.folder / "output", asked.keep, dirs_exist_ok=True)
    table = Table("what", "came of it", "seconds")
    for what, said, seconds in workflow.seen:
        table.add_row(what, said, f"{seconds:.1f}" if seconds else "")
    Console().print(f"{mix.rows} rows, seed {asked.seed}")
    Console().print(table)


if __name__ == "__main__":
    main()
