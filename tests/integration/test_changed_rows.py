"""A row is corrected, and its manifest submitted again, from the command line to the gallery."""

import csv
import io
import json
import re

import pytest

from tests.support.commands import run_reelqueue
from tests.support.stack import Stack
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

ROWS, BAD = 60, 7


def test_a_corrected_row_takes_the_place_of_the_failed_one(stack: Stack) -> None:
    """Sixty rows, of which one has a damaged picture: sixty jobs, and no failure is left."""
    stack.start_sandbox()
    stack.start_worker()
    stack.allow_in_flight(50)
    pictures = stack.folder / "pictures"
    pictures.mkdir()
    names = [f"{row:02}.png" for row in range(1, ROWS + 1)]
    for name in names:
        stack.image(f"pictures/{name}")
    bad = pictures / names[BAD - 1]
    whole = bad.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    submit = ("batch", "submit", pictures, "--prompt", "a 1-second slow push-in", "--json")
    first = run_reelqueue(*submit, "--wait", env=stack.env)
    assert first.code == 1, first.err
    (batch,) = first.records
    assert (batch["total"], batch["succeeded"], batch["failed"]) == (ROWS, ROWS - 1, 1)
    (failed,) = run_reelqueue("list", "--state", "failed", "--json", env=stack.env).records

    bad.write_bytes(whole)
    dry_run = run_reelqueue(*submit, "--dry-run", env=stack.env).records[0]
    assert (dry_run["good"], dry_run["duplicates"], dry_run["changed"]) == (ROWS, ROWS - 1, 0)
    assert dry_run["credits"] == batch["credits_spent"] / (ROWS - 1), "one clip"
    again = run_reelqueue(*submit, "--wait", env=stack.env)
    assert again.code == 0, again.err
    (batch,) = again.records
    assert (batch["total"], batch["succeeded"], batch["failed"]) == (ROWS, ROWS, 0)
    paid = stack.messages_by_image()
    assert len(paid) == sum(paid.values()) == ROWS, "each picture was paid for once"

    records = run_reelqueue("results", batch["batch_id"], env=stack.env).records
    assert [record["image"] for record in records] == names
    assert {record["state"] for record in records} == {"succeeded"}
    new = records[BAD - 1]
    (old,) = run_reelqueue("status", failed["job_id"], "--json", env=stack.env).records
    assert (old["state"], old["replaced_by"]) == ("failed", new["job_id"])
    assert run_reelqueue("retry", batch["batch_id"], "--json", env=stack.env).records == [
        {"id": batch["batch_id"], "changed": 0, "skipped": {}}
    ]
    page = stack.folder / "output" / "page.html"
    answer = run_reelqueue(
        "results", batch["batch_id"], "--format", "html", "-o", page, env=stack.env
    )
    assert answer.code == 0, answer.err
    cards = [
        json.loads(line) for line in re.findall(r'^(\{"id".*?),?$', page.read_text(), re.MULTILINE)
    ]
    assert len(cards) == ROWS
    assert cards[BAD - 1]["id"] == new["job_id"]
    assert cards[BAD - 1]["clip"]["src"].endswith(".mp4")
    assert old["job_id"] not in page.read_text()

    def table() -> list[str]:
        found = (stack.folder / "output").glob("pictures-*/manifest.csv")
        texts = [path.read_text(encoding="utf-8-sig") for path in found]
        return [row["job_id"] for text in texts for row in csv.DictReader(io.StringIO(text))]

    wait_until(lambda: table() == [record["job_id"] for record in records], "the table")
