"""``reelqueue results``."""

import csv
import io
import json

from tests.support.ledger_access import row_ids
from tests.unit.tasks.conftest import ProducerHarness, RunCommand
from worker.ledger.model.states import State

URL = "https://example.org/a.jpg"


def test_csv_has_the_columns_of_all_rows_and_no_formulas(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    (harness.folder / "jobs.jsonl").write_text(
        json.dumps({"image": URL, "prompt": "=cmd()", "sku": "A"})
        + "\n"
        + json.dumps({"image": URL, "size": 7})
    )
    batch_id = run_command("batch", "submit", "jobs.jsonl", "--json").records[0]["batch_id"]
    rows = list(
        csv.DictReader(io.StringIO(run_command("results", batch_id, "--format", "csv").out))
    )
    assert [(row["sku"], row["size"]) for row in rows] == [("A", ""), ("", "7")]
    assert rows[0]["prompt"] == "'=cmd()"


def test_the_batch_index_is_not_replaced_after_jobs_were_pruned(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    harness.picture("shots/0.png")
    harness.picture("shots/1.png", 5)
    batch_id = run_command("batch", "submit", "shots", "--json").records[0]["batch_id"]
    run_command("results", batch_id)
    first, second = row_ids(harness.producer.ledger, batch_id)
    harness.finish_step(first, State.CANCELLED)
    harness.producer.ledger.cancel(second)
    harness.producer.ledger.acknowledge_notification(f"job:{first}", 1)
    run_command("prune", "--days", "0")
    assert len(run_command("results", batch_id).records) == 1
    (table,) = (harness.folder / "output").glob("shots-*/manifest.csv")
    assert len(table.read_text().splitlines()) == 3
