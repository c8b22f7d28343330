"""``reelqueue batch``."""

import csv
import io
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.producer import actions, queries
from tests.support.ledger_access import row_ids
from tests.unit.tasks.cli.job_ends import fail_job, hold_job
from tests.unit.tasks.conftest import ProducerHarness, RunCommand
from worker.ledger.pages import PAGE_SIZE

URL = "https://example.org/a.jpg"


def test_a_folder_is_submitted_paused_resumed_and_exported(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    for shade in range(2):
        harness.picture(f"shots/{shade}.png", shade)
    (harness.folder / "shots" / "bad.jpg").write_text("no picture")
    dry_run = run_command("batch", "submit", "shots", "--dry-run", "--json")
    assert sorted(dry_run.records[0]) == [
        *("affordable", "available", "changed", "changed_rows", "columns", "credits"),
        *("duplicates", "encoding", "good", "hints", "jobs", "known", "latest_seconds"),
        *("left_out", "max_credits", "prompts", "rejected", "rows", "seconds"),
    ]
    first = run_command("batch", "submit", "shots", "--json")
    assert (first.code, first.records[0]["jobs"], len(first.records[0]["rejected"])) == (0, 2, 1)
    batch_id = first.records[0]["batch_id"]
    again = run_command("batch", "submit", "shots", "--json").records[0]
    assert (again["batch_id"], again["jobs"], again["duplicates"]) == (batch_id, 0, 2)
    assert (
        run_command("batch", "submit", "shots", "--name", "other", "--json").records[0]["jobs"] == 2
    )
    assert run_command("status", batch_id, "--json").records[0]["total"] == 2
    assert len(run_command("list", "--batches", "--json").records) == 2

    assert run_command("batch", "pause", batch_id, "--json").records[0]["paused"] is True
    assert run_command("batch", "resume", batch_id, "--json").records[0]["paused"] is False
    assert run_command("batch", "pause", "nope").code == 2

    assert [record["image"] for record in run_command("results", batch_id).records] == [
        "0.png",
        "1.png",
    ]
    answer = run_command("results", batch_id, "--format", "html", "-o", "page.html")
    assert (answer.code, answer.out) == (0, "")
    assert '"name":"0.png"' in (harness.folder / "page.html").read_text()
    assert run_command("results", batch_id, "-o", "gone/page.html").code == 2
    assert run_command("results", "nope").code == 2


@pytest.mark.parametrize(("end", "code"), [("failed", 1), ("held", 4), ("cancelled", 0)])
def test_wait_prints_the_batch_record_only(
    run_command: RunCommand, harness: ProducerHarness, end: str, code: int
) -> None:
    (harness.folder / "jobs.csv").write_text(f"image,seconds\n{URL},5\n{URL},500\n")
    batch_id = run_command("batch", "submit", "jobs.csv", "--json").records[0]["batch_id"]
    job_id = next(queries.list_batch_jobs(harness.producer, batch_id)).job_id
    if end == "cancelled":
        actions.cancel(harness.producer, job_id)
    else:
        (fail_job if end == "failed" else hold_job)(harness, job_id)
    answer = run_command("batch", "submit", "jobs.csv", "--wait", "--json")
    assert (answer.code, [record["batch_id"] for record in answer.records]) == (code, [batch_id])
    assert answer.records[0][end] == 1
    assert "row 3" in answer.err


@pytest.mark.parametrize("manifest", ["gone.csv", "bad.csv", "all-bad.csv", "jobs.txt"])
def test_a_manifest_without_jobs_exits_with_2(
    run_command: RunCommand, harness: ProducerHarness, manifest: str
) -> None:
    (harness.folder / "bad.csv").write_text("picture\na.jpg\n")
    (harness.folder / "all-bad.csv").write_text("image\ngone.jpg\n")
    (harness.folder / "jobs.txt").touch()
    answer = run_command("batch", "submit", manifest)
    assert answer.code == 2
    assert answer.err


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("empty.csv", b""),
        ("header.csv", b"image\n"),
        ("other.csv", b"picture\na.jpg\n"),
        ("wide.csv", "image\na.jpg\n".encode("utf-16")),
        ("empty.jsonl", b""),
        ("garbage.jsonl", b"{not json\n\xff\n[1]\n"),
    ],
)
def test_a_manifest_without_a_usable_row_exits_with_2(
    run_command: RunCommand, harness: ProducerHarness, name: str, text: bytes
) -> None:
    (harness.folder / name).write_bytes(text)
    answer = run_command("batch", "submit", name)
    assert answer.code == 2
    assert answer.err
    assert "Traceback" not in answer.err


def test_waiting_for_a_paused_batch_ends_with_a_note(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    (harness.folder / "jobs.csv").write_text(f"image\n{URL}\n")
    batch_id = run_command("batch", "submit", "jobs.csv", "--json").records[0]["batch_id"]
    run_command("batch", "pause", batch_id)
    answer = run_command("batch", "submit", "jobs.csv", "--wait", "--json")
    assert (answer.code, answer.records[0]["paused"]) == (4, True)
    assert "batch resume" in answer.err


def test_an_interrupted_submission_is_found_by_doctor_and_completed_by_submitting_again(
    run_command: RunCommand, harness: ProducerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The media store fails at the second page. All jobs of the first page have ended."""
    monkeypatch.setenv("REELQUEUE_WEBHOOK_SECRET", f"whsec_{'a2V5' * 8}")
    rows = [*(json.dumps({"image": f"{URL}?{n}"}) for n in range(PAGE_SIZE)), '{"image": "a.png"}']
    (harness.folder / "spring.jsonl").write_text("\n".join(rows))
    harness.picture("a.png")
    submit = ("batch", "submit", "spring.jsonl", "--webhook", "https://example.org/hook", "--json")
    (harness.folder / "media").write_text("no folder")
    assert run_command(*submit).code != 0
    ledger = harness.producer.ledger
    (batch_id,) = ledger.batch_ids()
    ledger.cancel_many(row_ids(ledger, batch_id))

    def batch_webhooks() -> list[str]:
        hooks = ledger.redis.scan_iter(ledger.key("hook", "batch_*"))
        return [str(ledger.redis.hget(key, "event")) for key in hooks]

    def doctor() -> Mapping[str, Any]:
        records = {record["check"]: record for record in run_command("doctor", "--json").records}
        return records["manifests"]

    assert batch_webhooks() == []
    assert "its manifest is incomplete: submit it again" in run_command("status", batch_id).out
    assert doctor()["ok"], "it may still be in progress"
    assert batch_id in doctor()["found"]
    ledger.redis.hincrby(ledger.key("batch", batch_id), "unsealed_at", -3_600_000)
    assert not doctor()["ok"]
    assert "Submit the same manifest again" in doctor()["remedy"]

    (harness.folder / "media").unlink()
    (record,) = run_command(*submit).records
    assert (record["batch_id"], record["jobs"], record["duplicates"]) == (batch_id, 1, PAGE_SIZE)
    assert (doctor()["ok"], doctor()["found"]) == (True, "complete")
    assert "incomplete" not in run_command("status", batch_id).out
    assert batch_webhooks() == []
    ledger.cancel_many(row_ids(ledger, batch_id)[PAGE_SIZE:])
    assert batch_webhooks() == ["batch.ended"]


def test_rejected_rows_can_be_corrected_and_submitted_from_their_file(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    harness.picture("good.png")
    (harness.folder / "jobs.csv").write_text(
        "image,seconds,sku\ngood.png,5,A\ngood.png,500,B\ngood.png,5,C,more\n"
    )
    answer = run_command("batch", "submit", "jobs.csv", "--json")
    assert (answer.code, answer.records[0]["jobs"]) == (0, 1)
    assert [row["row"] for row in answer.records[0]["rejected"]] == [3, 4]
    path = harness.folder / "jobs.rejected.csv"
    bad = path.read_text()
    header, first, second = csv.reader(io.StringIO(bad))
    assert header == ["image", "seconds", "sku", "rejected_row", "rejected_reason"]
    assert first[:4] == ["good.png", "500", "B", "3"]
    assert second[-1] == "more"
    # A second file is not made for the same content, and replaces no corrected file.
    run_command("batch", "submit", "jobs.csv")
    assert sorted(found.name for found in harness.folder.glob("jobs*")) == [
        *("jobs.csv", "jobs.rejected.csv"),
    ]
    path.write_text(bad.replace("500", "6").replace(",more", ""))
    corrected = run_command("batch", "submit", path, "--name", "jobs.csv", "--json").records[0]
    assert (corrected["jobs"], corrected["duplicates"], corrected["rejected"]) == (1, 1, [])
    assert corrected["batch_id"] == answer.records[0]["batch_id"]
    skus = [
        result.data["sku"]
        for result in queries.list_batch_jobs(harness.producer, corrected["batch_id"])
    ]
    assert skus == ["A", "B", "C"]


def test_a_batch_is_submitted_even_if_its_rejected_rows_cannot_be_written(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    (harness.folder / "jobs.csv").write_text(f"image\nnope.jpg\n{URL}\n")
    answer = run_command(
        "batch", "submit", "jobs.csv", "--json", "--rejects", "nowhere/rejected.csv"
    )
    assert answer.records[0]["jobs"] == 1
    assert "use --rejects FILE" in answer.err
    assert queries.get_batch(harness.producer, answer.records[0]["batch_id"]).sealed


def test_a_manifest_without_an_accepted_row_makes_no_batch(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    table = harness.folder / "jobs.csv"
    table.write_text("image\n" + "nope.jpg\n" * 600)
    for option in ("--dry-run", "--json"):
        answer = run_command("batch", "submit", "jobs.csv", "--json", option)
        assert (answer.code, len(answer.records[0]["rejected"])) == (2, 600)
        assert list(queries.list_batches(harness.producer)) == []
    assert "No row was accepted" in answer.err
    table.write_text("image\n" + "nope.jpg\n" * 600 + f"{URL}\n")
    answer = run_command("batch", "submit", "jobs.csv", "--max-credits", "300", "--json")
    assert (answer.code, answer.records[0]["jobs"]) == (0, 1)
    assert len(answer.records[0]["rejected"]) == 600
    batch_id = answer.records[0]["batch_id"]
    # A batch that exists stays as it is.
    table.write_text("image\nnope.jpg\n")
    assert run_command("batch", "submit", "jobs.csv").code == 2
    batch = queries.get_batch(harness.producer, batch_id)
    assert (batch.total, batch.sealed, batch.max_credits) == (1, True, 300)


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_a_manifest_without_rows_is_an_error(
    run_command: RunCommand, harness: ProducerHarness, options: list[str]
) -> None:
    (harness.folder / "jobs.csv").write_text("image\n")
    answer = run_command("batch", "submit", "jobs.csv", *options)
    assert (answer.code, answer.err) == (2, "jobs.csv has no rows.\n")


@pytest.mark.parametrize("name", ["gone.jpg", "pipe.jpg", "x.jpg", "empty.jpg"])
def test_files_that_are_no_images_are_rejected_without_waiting_for_them(
    run_command: RunCommand, harness: ProducerHarness, name: str
) -> None:
    (harness.folder / "gone.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(harness.folder / "pipe.jpg")
    (harness.folder / "x.jpg").mkdir()
    (harness.folder / "empty.jpg").touch()
    harness.picture("good.png")
    (harness.folder / "jobs.csv").write_text(f"image\ngood.png\n{name}\n")
    answer = run_command("batch", "submit", "jobs.csv", "--json").records[0]
    assert (answer["jobs"], [row["row"] for row in answer["rejected"]]) == (1, [3])
    for command in (("submit", name), ("submit", "good.png", "--attach", name)):
        refused = run_command(*command)
        assert (refused.code, name in refused.err) == (2, True)


def test_an_empty_path_is_not_the_working_directory(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    harness.picture("a.png")
    assert run_command("batch", "submit", "").code == 2
    assert list(queries.list_batches(harness.producer)) == []


def test_only_the_first_100_rejected_rows_are_printed(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    (harness.folder / "jobs.csv").write_text("image\n" + "nope.jpg\n" * 250)
    answer = run_command("batch", "submit", "jobs.csv", "--dry-run")
    assert answer.err.count("nope.jpg") == 100
    assert "150 more" in answer.err


def test_a_pilot_says_that_the_batch_pauses_only_where_it_pauses(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    (harness.folder / "jobs.csv").write_text("image\n" + "".join(f"{URL}?{n}\n" for n in range(3)))
    all_run = run_command("batch", "submit", "jobs.csv", "--name", "small", "--pilot", "3")
    assert "pauses" not in all_run.err
    assert (
        "The batch pauses after 2 jobs."
        in run_command("batch", "submit", "jobs.csv", "--pilot", "2").err
    )


def test_a_batch_that_does_not_start_yet_shows_its_time(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    harness.picture("shots/a.png")
    command = ("batch", "submit", "shots", "--not-before")
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    done = run_command(*command, tomorrow.isoformat())
    shown = tomorrow.astimezone().isoformat(" ", "minutes")
    assert (done.code, f"No job starts before {shown}." in done.err) == (0, True)
    batch_id = harness.producer.ledger.batch_ids()[0]
    status = run_command("status", batch_id)
    assert f"no job starts before {shown}" in status.out
    record = run_command("status", batch_id, "--json").records[0]
    assert datetime.fromisoformat(record["not_before"]) == tomorrow.astimezone()
    assert harness.producer.ledger.due(10, room=10, admit=10) == []
    run_command("batch", "resume", batch_id)
    run_command("batch", "submit", "shots")
    assert harness.producer.ledger.due(10, room=10, admit=10) == []
    over = run_command(*command, "now")
    assert "start as soon as possible" in over.err
    assert "no job starts" not in run_command("status", batch_id).out
    assert len(harness.producer.ledger.due(10, room=10, admit=10)) == 1
    wrong = run_command(*command, "tonight")
    assert (wrong.code, "such as 22:00" in wrong.err) == (2, True)


def test_the_same_manifest_after_a_cancel_says_how_to_make_the_clips(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    (harness.folder / "jobs.csv").write_text(f"image\n{URL}?1\n{URL}?2\n")
    batch_id = run_command("batch", "submit", "jobs.csv", "--json").records[0]["batch_id"]
    run_command("cancel", "jobs.csv")
    again = run_command("batch", "submit", "jobs.csv")
    assert "0 new jobs, 2 already submitted (2 cancelled), 0 rejected" in again.out
    assert f"2 known rows are cancelled. `reelqueue redo {batch_id} --state cancelled`" in again.err
    record = run_command("batch", "submit", "jobs.csv", "--json").records[0]
    assert record["known"] == {"cancelled": 2}
    assert len(run_command("redo", batch_id, "--state", "cancelled", "--json").records) == 2
    assert "(2 queued)" in run_command("batch", "submit", "jobs.csv").out


def test_the_same_manifest_after_prune_says_how_to_make_the_clips(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    (harness.folder / "jobs.csv").write_text(f"image\n{URL}?1\n{URL}?2\n")
    run_command("batch", "submit", "jobs.csv")
    run_command("cancel", "jobs.csv")
    harness.producer.ledger.redis.delete(harness.producer.ledger.key("outbox"))
    run_command("prune", "--days", "0")
    again = run_command("batch", "submit", "jobs.csv")
    assert "0 new jobs, 2 already submitted (2 pruned)" in again.out
    assert "`reelqueue batch submit jobs.csv --name 'jobs.csv again'`" in again.err
    record = run_command("batch", "submit", "jobs.csv", "--name", "jobs.csv again", "--json")
    assert record.records[0]["jobs"] == 2


@pytest.mark.parametrize("columns", [None, "40", "80"])
def test_a_dry_run_is_a_table_that_people_read(
    run_command: RunCommand, harness: ProducerHarness, columns: str | None
) -> None:
    harness.picture("cup.png")
    (harness.folder / "jobs.csv").write_text(
        "image,prompt,sku\n"
        "cup.png,Slow push-in on the cup,A-1\ncup.png,Slow push-in on the cup,A-2\n"
        f"{URL},Pan left over the whole table,A-3\ngone.png,,A-4\n"
    )
    command = ("batch", "submit", "jobs.csv", "--dry-run", "--max-credits", "150")
    answer = run_command(*command, env={"COLUMNS": columns})
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert all(len(line) <= int(columns) for line in lines if columns)
    text = " ".join(answer.out.split())
    for part in (
        *("rows 4: 3 good, 1 rejected", "duplicates 1 already submitted or repeated", "new jobs 2"),
        *("columns used: image, prompt", "only returned in the results: sku", "encoding utf-8"),
        *("credits about 200 needed", "the balance is not known yet", "--max-credits 150"),
        *(
            "enough for 1 clip, not for all 2",
            "the latest end is not known",
            "prompts Slow push-in on the cup.",
        ),
        *("1 row (2 cup.png): the image is very small", "Pan left over the whole table."),
    ):
        assert part in text
    assert "row 5: image: " in answer.err
