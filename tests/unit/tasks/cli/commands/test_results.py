"""``reelqueue results``."""

import csv
import io
import json
import os
import stat
from pathlib import Path
from threading import Thread

import pytest
from python_calamine import CalamineWorkbook

from tasks.reports.batch_index import write_batch_index
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
    write_batch_index(harness.producer, batch_id)
    first, second = row_ids(harness.producer.ledger, batch_id)
    harness.finish_step(first, State.CANCELLED)
    harness.producer.ledger.cancel(second)
    harness.producer.ledger.acknowledge_notifications([(f"job:{first}", 1)])
    run_command("prune", "--days", "0")
    assert len(run_command("results", batch_id).records) == 1
    (table,) = (harness.folder / "output").glob("shots-*/manifest.csv")
    assert len(table.read_text().splitlines()) == 3


def test_the_batch_index_is_written_once_after_the_batch_has_ended(
    run_command: RunCommand, harness: ProducerHarness, batch_id: str
) -> None:
    """No worker runs. The table of an open batch is what the command prints."""
    folder = harness.folder / "output"
    run_command("results", batch_id)
    assert not list(folder.rglob("manifest.csv"))
    harness.producer.ledger.cancel_many(row_ids(harness.producer.ledger, batch_id))
    run_command("results", batch_id)
    (table,) = folder.rglob("manifest.csv")
    assert len(table.read_text().splitlines()) == 3
    written = table.stat()
    run_command("results", batch_id)
    assert (table.stat().st_ino, table.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)


@pytest.fixture
def batch_id(harness: ProducerHarness) -> str:
    return harness.submit_batch(2)


def test_a_pipe_is_written_through(
    run_command: RunCommand, harness: ProducerHarness, batch_id: str
) -> None:
    pipe = harness.folder / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    assert run_command("results", batch_id, "-o", "pipe").code == 0
    reader.join(30)
    assert len(read[0].splitlines()) == 2
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("existing", [True, False])
def test_a_link_is_followed(
    run_command: RunCommand, harness: ProducerHarness, batch_id: str, existing: bool
) -> None:
    target, link = harness.folder / "deep" / "clips.jsonl", harness.folder / "link"
    target.parent.mkdir()
    if existing:
        target.write_text("old")
        target.chmod(0o600)
    link.symlink_to(target)
    run_command("results", batch_id, "-o", "link")
    assert link.is_symlink()
    assert len(target.read_text().splitlines()) == 2
    assert list(target.parent.iterdir()) == [target]
    if existing:
        assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_device_is_written_through(run_command: RunCommand, batch_id: str) -> None:
    before = Path(os.devnull).stat()
    assert run_command("results", batch_id, "-o", os.devnull).code == 0
    assert run_command("results", batch_id, "-o", "/dev/full").code == 2
    after = Path(os.devnull).stat()
    assert (before.st_ino, before.st_rdev) == (after.st_ino, after.st_rdev)


def test_a_dash_is_standard_output(
    run_command: RunCommand, harness: ProducerHarness, batch_id: str
) -> None:
    assert len(run_command("results", batch_id, "-o", "-").records) == 2
    assert not (harness.folder / "-").exists()


def test_a_folder_or_a_closed_descriptor_is_refused(
    run_command: RunCommand, harness: ProducerHarness, batch_id: str
) -> None:
    (harness.folder / "out").mkdir()
    for name in ("out", "/dev/fd/987"):
        answer = run_command("results", batch_id, "-o", name)
        assert (answer.code, answer.out) == (2, "")
        assert f"{name} cannot be written: " in answer.err


@pytest.mark.parametrize("folder", ["/dev/fd", "/proc/self/fd"])
def test_a_descriptor_is_appended_to_as_the_shell_has_opened_it(
    run_command: RunCommand, tmp_path: Path, batch_id: str, folder: str
) -> None:
    """Opening it again would cut off the file: ``results -o /dev/fd/3 3>> log``."""
    log = tmp_path / "log"
    log.write_text("before\n")
    with log.open("ab") as sink:
        assert run_command("results", batch_id, "-o", f"{folder}/{sink.fileno()}").code == 0
    before, *lines = log.read_text().splitlines()
    assert before == "before"
    assert len(lines) == 2
    assert log.stat().st_nlink == 1


@pytest.mark.parametrize("place", ["clips.xlsx", "-"])
def test_a_spreadsheet(
    run_command: RunCommand, harness: ProducerHarness, batch_id: str, place: str
) -> None:
    done = run_command("results", batch_id, "--format", "xlsx", "-o", place)
    assert done.code == 0
    if place != "-":
        content = (harness.folder / place).read_bytes()
        sheet = CalamineWorkbook.from_filelike(io.BytesIO(content)).get_sheet_by_index(0)
        assert [row[0] for row in sheet.to_python()] == ["row", 1, 2]
