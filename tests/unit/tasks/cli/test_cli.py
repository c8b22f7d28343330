"""The command line: records, exit codes, and what it says when something is wrong."""

import csv
import io
import json
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tasks.producer import actions, queries
from tasks.schema.image_job import DEFAULT_PROMPT
from tests.support.ledger_access import recent_ids, row_ids
from tests.support.waiting import free_port
from tests.unit.tasks.conftest import ProducerHarness, RunCommand
from worker.ledger.ledger import Commit
from worker.ledger.model.states import Reason, State
from worker.ledger.pages import PAGE_SIZE
from worker.runtime.worker_registry import register_worker

URL = "https://example.org/a.jpg"


def failed(harness: ProducerHarness, job_id: str) -> None:
    harness.finish_step(
        job_id, State.FAILED, reason=Reason.RENDER_FAILED, message="No.", remedy="Retry."
    )


def held(harness: ProducerHarness, job_id: str) -> None:
    harness.finish_step(job_id, State.HELD, reason=Reason.CREDITS, message="No.", remedy="Top up.")


# --- submit, status, list ----------------------------------------------------------------------


def test_submit_prints_one_record_an_image(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    harness.picture("a.png")
    answer = run_command("submit", "a.png", URL, "--json")
    assert answer.code == 0
    assert [sorted(record) for record in answer.records] == [["duplicate", "job_id", "state"]] * 2
    assert answer.err == ""
    found = run_command("status", *(record["job_id"] for record in answer.records), "--json")
    assert [record["image"] for record in found.records] == ["a.png", URL]


@pytest.mark.parametrize("as_json", [True, False])
def test_bad_files_are_all_named_and_nothing_is_enqueued(
    run_command: RunCommand, harness: ProducerHarness, as_json: bool
) -> None:
    harness.picture("good.png")
    (harness.folder / "empty.jpg").touch()
    (harness.folder / "text.jpg").write_text("no picture")
    answer = run_command(
        "submit", "good.png", "empty.jpg", "text.jpg", "gone.jpg", *["--json"] * as_json
    )
    assert answer.code == 2
    assert answer.out == ""
    assert len(answer.err.splitlines()) == 3
    assert all(name in answer.err for name in ("empty.jpg", "text.jpg", "gone.jpg"))
    assert recent_ids(harness.producer.ledger, 1) == []


@pytest.mark.parametrize(
    "options",
    [
        ["--key", "k", URL],
        ["--seconds", "99"],
        ["--aspect", "4:3"],
        ["--colour", "red"],
    ],
)
def test_bad_usage_ends_with_2(run_command: RunCommand, options: list[str]) -> None:
    answer = run_command("submit", URL, *options)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err


def test_a_key_is_one_job_and_a_conflict_is_bad_input(run_command: RunCommand) -> None:
    first = run_command("submit", URL, "--key", "k", "--json").records[0]
    assert run_command("submit", URL, "--key", "k", "--json").records == [
        {**first, "duplicate": True}
    ]
    answer = run_command("submit", URL, "--key", "k", "--seconds", "5", "--json")
    assert (answer.code, answer.out) == (2, "")
    assert "another payload" in answer.err


def test_status_of_unknown_ids_still_prints_the_known_ones(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    job_id = harness.submit()
    answer = run_command("status", "nope", job_id, "--json")
    assert (answer.code, len(answer.records)) == (2, 1)
    assert "nope" in answer.err


def test_status_for_people_shows_what_was_changed_and_what_is_marked(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    job_id = harness.submit()
    frozen = {"code": "frozen", "message": "Nothing moves in it."}
    sizes = {"bytes": 1, "width": 640, "height": 360, "seconds": 1.0}
    clip = {**sizes, "sha256": "0", "codec": "h264", "key": "a.mp4", "findings": [frozen]}
    changes = ["scaled down from 9000 by 9 to 8192 by 8 pixels"]
    facts = {"clip": json.dumps(clip), "changes": json.dumps(changes)}
    harness.finish_step(job_id, State.SUCCEEDED, facts=facts)
    out = run_command("status", job_id).out
    assert f"changes   {changes[0]}" in out
    assert f"quality   {frozen['message']}" in out


def test_status_for_people_shows_reason_and_remedy(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    job_id = harness.submit(prompt="Pan \x1b[31mleft")
    held(harness, job_id)
    answer = run_command("status", job_id)
    assert answer.code == 0
    assert "credits: No." in answer.out
    assert "Top up." in answer.out
    assert "\x1b" not in answer.out


def test_list_filters(run_command: RunCommand, harness: ProducerHarness) -> None:
    jobs = [harness.submit() for _ in range(4)]
    failed(harness, jobs[0])
    held(harness, jobs[1])

    def ids(*options: str) -> list[str]:
        return [record["job_id"] for record in run_command("list", "--json", *options).records]

    assert sorted(ids()) == sorted(jobs)
    assert ids("--state", "failed") == [jobs[0]]
    assert sorted(ids("--state", "failed", "--state", "held")) == sorted(jobs[:2])
    assert ids("--reason", "credits") == [jobs[1]]
    assert len(ids("--limit", "2")) == 2
    assert run_command("list", "--batch", "nope").code == 2
    assert jobs[0] in run_command("list").out


# --- waiting ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ((State.SUCCEEDED, State.SUCCEEDED), 0),
        ((State.SUCCEEDED, State.CANCELLED), 0),
        ((State.SUCCEEDED, State.HELD), 4),
        ((State.FAILED, State.HELD), 1),
    ],
)
def test_wait_prints_the_results_in_order_and_tells_by_its_code(
    run_command: RunCommand, harness: ProducerHarness, ends: Sequence[State], code: int
) -> None:
    """Somebody ends the jobs, in the order in which they came, while the command waits."""
    worker = threading.Thread(target=end_all, args=(harness, ends))
    worker.start()
    urls = [f"https://example.org/{n}.jpg" for n in range(len(ends))]
    answer = run_command("submit", *urls, "--wait", "--json")
    worker.join()
    assert [record["image"] for record in answer.records] == urls
    assert [record["state"] for record in answer.records] == list(ends)
    assert answer.code == code


def end_all(harness: ProducerHarness, ends: Sequence[State]) -> None:
    """Do a worker's part: one end after the other, each for the next job."""
    for state in ends:
        reason = {State.HELD: Reason.CREDITS, State.FAILED: Reason.BAD_CLIP}.get(state)
        harness.finish_next_step(Commit(state, reason=reason))


def test_watch_tells_each_change_once_and_ends_with_the_jobs(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    jobs = [harness.submit(), harness.submit()]
    failed(harness, jobs[0])
    held(harness, jobs[1])
    answer = run_command("watch", *jobs)
    assert answer.code == 0
    assert [line.split()[:2] for line in answer.out.splitlines()] == [
        *([jobs[0], "failed"], [jobs[1], "held"]),
    ]
    assert run_command("watch", "nope").code == 2


# --- steering --------------------------------------------------------------------------------


def test_retry_cancel_and_release_say_what_changed(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    job_id = harness.submit()
    assert run_command("retry", job_id, "--json").records == [
        {"id": job_id, "changed": 0, "skipped": {"not_failed": 1}}
    ]
    failed(harness, job_id)
    assert run_command("retry", job_id, "--json").records[0]["changed"] == 1
    held(harness, job_id)
    assert run_command("release", "--reason", "credits", "--json").records == [
        {"id": "credits", "changed": 1, "skipped": {}}
    ]
    assert run_command("cancel", job_id, "--json").records[0]["changed"] == 1
    assert run_command("cancel", job_id, "--json").records[0]["skipped"] == {"ended": 1}
    assert run_command("cancel", "nope").code == 2


def test_retry_of_a_held_job_names_its_way_out(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    job_id = harness.submit()
    held(harness, job_id)
    answer = run_command("retry", job_id)
    assert answer.code == 2
    assert "Top up." in answer.err


def test_an_unknown_outcome_needs_a_choice(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    job_id = harness.submit()
    harness.begin_payment(job_id)
    job = harness.producer.ledger.job(job_id)
    assert job is not None
    harness.producer.ledger.scripts.run(
        *("commit", job_id, job.fence, "n", "held", 0, "outcome_unknown", "settling", "")
    )
    answer = run_command("release", job_id)
    assert answer.code == 2
    assert "--pay-again" in answer.err
    assert "--as-done" in answer.err
    assert run_command("release", job_id, "--pay-again", "--as-done").code == 2
    assert run_command("release", job_id, "--as-done").code == 0


def test_release_takes_ids_or_a_reason(run_command: RunCommand) -> None:
    assert run_command("release").code == 2
    assert run_command("release", "x", "--reason", "credits").code == 2
    assert run_command("release", "--reason", "boredom").code == 2


# --- batches ---------------------------------------------------------------------------------


def test_a_batch_from_a_folder_to_its_results(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    for shade in range(2):
        harness.picture(f"shots/{shade}.png", shade)
    (harness.folder / "shots" / "bad.jpg").write_text("no picture")
    trial = run_command("batch", "submit", "shots", "--dry-run", "--json")
    assert sorted(trial.records[0]) == [
        *("credits", "duplicates", "good", "hints", "rejected", "rows", "seconds"),
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
    (table,) = (harness.folder / "output").glob("shots-*/manifest.csv")
    with table.open(newline="") as file:
        assert [row["image"] for row in csv.DictReader(file)] == ["0.png", "1.png"]
    assert run_command("results", batch_id, "-o", "gone/page.html").code == 2
    assert run_command("results", "nope").code == 2


@pytest.mark.parametrize(("end", "code"), [("failed", 1), ("held", 4), ("cancelled", 0)])
def test_batch_submit_waits_and_prints_the_batch_alone(
    run_command: RunCommand, harness: ProducerHarness, end: str, code: int
) -> None:
    (harness.folder / "jobs.csv").write_text(f"image,seconds\n{URL},5\n{URL},500\n")
    batch_id = run_command("batch", "submit", "jobs.csv", "--json").records[0]["batch_id"]
    job_id = next(queries.list_batch_jobs(harness.producer, batch_id)).job_id
    if end == "cancelled":
        actions.cancel(harness.producer, job_id)
    else:
        (failed if end == "failed" else held)(harness, job_id)
    answer = run_command("batch", "submit", "jobs.csv", "--wait", "--json")
    assert (answer.code, [record["batch_id"] for record in answer.records]) == (code, [batch_id])
    assert answer.records[0][end] == 1
    assert "row 3" in answer.err


@pytest.mark.parametrize("manifest", ["gone.csv", "bad.csv", "all-bad.csv", "jobs.txt"])
def test_manifests_that_give_nothing_end_with_2(
    run_command: RunCommand, harness: ProducerHarness, manifest: str
) -> None:
    (harness.folder / "bad.csv").write_text("picture\na.jpg\n")
    (harness.folder / "all-bad.csv").write_text("image\ngone.jpg\n")
    (harness.folder / "jobs.txt").touch()
    answer = run_command("batch", "submit", manifest)
    assert answer.code == 2
    assert answer.err


def test_csv_results_hold_every_column_and_no_formulas(
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


# --- operating -------------------------------------------------------------------------------


def test_no_redis_is_3_and_says_what_to_do(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", f"redis://:hush@127.0.0.1:{free_port()}/0")
    for command in (["list"], ["submit", URL, "--json"], ["status", "x"], ["credits"]):
        answer = run_command(*command)
        assert (answer.code, answer.out) == (3, "")
        assert "reelqueue valkey" in answer.err
        assert "hush" not in answer.err


def test_wrong_settings_name_the_variable(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELQUEUE_CONCURRENCY", "none")
    answer = run_command("list")
    assert answer.code == 2
    assert "concurrency" in answer.err.lower()


def test_credits_are_read_from_the_ledger_when_the_api_is_dead(
    run_command: RunCommand, harness: ProducerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "nmv_usr_" + "x" * 20
    monkeypatch.setenv("NEMO_TOKEN", token)
    harness.producer.ledger.scripts.run("balance", "a", 1, 90, 0, 100)
    answer = run_command("credits", "--json")
    assert answer.code == 3
    assert answer.records == [
        {
            "account": "a",
            "available": 90,
            "frozen": 0,
            "total": 100,
            "reserved": 0,
            "spent": 0,
            "estimate": 0,
        }
    ]
    assert "NEMO_API_URL" in answer.err
    assert token not in answer.err
    assert run_command("credits", "--cached").code == 0


def test_doctor_checks_every_part(run_command: RunCommand, harness: ProducerHarness) -> None:
    answer = run_command("doctor", "--json")
    found = {record["check"]: record for record in answer.records}
    assert answer.code == 3
    wrong = {check for check, record in found.items() if not record["ok"]}
    assert wrong == {"workers", "video API"}
    assert all(found[check]["remedy"] for check in wrong)
    assert {"redis", "append-only file", "appendfsync", "eviction", "broker", "media store"} <= (
        found.keys()
    )
    assert {"output store", "outbox", "token"} <= found.keys()
    register_worker(harness.producer.ledger, "w", 10, 60)
    found = {record["check"]: record for record in run_command("doctor", "--json").records}
    assert found["workers"]["ok"]


def test_what_was_set_aside_is_seen_and_put_back(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    job_id, other = harness.submit(key="a"), harness.submit(key="b")
    ledger = harness.producer.ledger
    for name in (job_id, other):
        ledger.redis.hset(ledger.key("job", name), "turn", "many")
    assert ledger.due(10, room=10, admit=10) == []

    def doctor() -> Mapping[str, Any]:
        records = {record["check"]: record for record in run_command("doctor", "--json").records}
        return records["records"]

    assert not doctor()["ok"]
    assert "2 set aside" in doctor()["found"]
    assert f"{job_id}: turn is 'many', not a number" in doctor()["found"]
    assert "`reelqueue release --set-aside`" in doctor()["remedy"]
    (shown,) = run_command("status", job_id, "--json").records
    assert f"`reelqueue release {job_id}`" in shown["reason"]["remedy"]
    answer = run_command("release", job_id)
    assert (answer.code, "still unreadable" in answer.out) == (2, True)
    assert run_command("release", "--set-aside", "--reason", "plan").code == 2
    ledger.redis.hset(ledger.key("job", job_id), "turn", "1")
    (change,) = run_command("release", "--set-aside", "--json").records
    assert (change["changed"], change["skipped"]) == (1, {"unreadable": 1})
    assert "1 set aside" in doctor()["found"]
    assert [found for found, _ in ledger.due(10, room=10, admit=10)] == [job_id]


def test_a_submission_that_died_is_seen_and_mended_by_submitting_again(
    run_command: RunCommand, harness: ProducerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first page is in and ends; the disk of the media store is full at the second."""
    monkeypatch.setenv("REELQUEUE_WEBHOOK_SECRET", f"whsec_{'a2V5' * 8}")
    rows = [*(json.dumps({"image": f"{URL}?{n}"}) for n in range(PAGE_SIZE)), '{"image": "a.png"}']
    (harness.folder / "spring.jsonl").write_text("\n".join(rows))
    harness.picture("a.png")
    submit = ("batch", "submit", "spring.jsonl", "--webhook", "https://example.org/told", "--json")
    (harness.folder / "media").write_text("no folder")
    assert run_command(*submit).code != 0
    ledger = harness.producer.ledger
    (batch_id,) = ledger.batch_ids()
    ledger.cancel_many(row_ids(ledger, batch_id))

    def owed() -> list[str]:
        hooks = ledger.redis.scan_iter(ledger.key("hook", "batch_*"))
        return [str(ledger.redis.hget(key, "event")) for key in hooks]

    def doctor() -> Mapping[str, Any]:
        records = {record["check"]: record for record in run_command("doctor", "--json").records}
        return records["manifests"]

    assert owed() == []
    assert "its manifest is incomplete: submit it again" in run_command("status", batch_id).out
    assert doctor()["ok"], "it may still be going on"
    assert batch_id in doctor()["found"]
    ledger.redis.hincrby(ledger.key("batch", batch_id), "unsealed_at", -3_600_000)
    assert not doctor()["ok"]
    assert "Submit the same manifest again" in doctor()["remedy"]

    (harness.folder / "media").unlink()
    (record,) = run_command(*submit).records
    assert (record["batch_id"], record["jobs"], record["duplicates"]) == (batch_id, 1, PAGE_SIZE)
    assert (doctor()["ok"], doctor()["found"]) == (True, "complete")
    assert "incomplete" not in run_command("status", batch_id).out
    assert owed() == []
    ledger.cancel_many(row_ids(ledger, batch_id)[PAGE_SIZE:])
    assert owed() == ["batch.ended"]


def test_doctor_without_redis_goes_on(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    found = {record["check"]: record["ok"] for record in run_command("doctor", "--json").records}
    assert (found["redis"], found["broker"], found["output store"]) == (False, False, True)


def test_schema_is_one_object(run_command: RunCommand) -> None:
    (schemas,) = run_command("schema").records
    assert sorted(schemas) == ["batch", "payload", "result"]
    assert schemas["payload"]["additionalProperties"] is False
    assert "video" in schemas["result"]["required"]


def test_prune_forgets_what_ended_and_its_key_still_answers(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    done = harness.submit(key="k-1")
    harness.finish_step(done, State.SUCCEEDED)
    harness.producer.ledger.acknowledge_notification(f"job:{done}", 1)
    waits = harness.submit(key="k-2")
    assert run_command("prune", "--json").records[0]["jobs"] == 0
    trial = run_command("prune", "--days", "0", "--dry-run", "--json").records[0]
    assert (trial["jobs"], trial["dry_run"]) == (1, True)
    assert run_command("status", done).code == 0
    found = run_command("prune", "--days", "0", "--json").records[0]
    assert (found["jobs"], found["batches"], found["clips"], found["dry_run"]) == (1, 0, 0, False)
    assert run_command("status", done).code == 2
    assert run_command("status", waits).code == 0
    again = run_command("submit", URL, "--prompt", DEFAULT_PROMPT, "--key", "k-1", "--json")
    assert again.records == [
        {"job_id": done, "state": "succeeded", "duplicate": True, "pruned": True}
    ]
    assert run_command("prune", "--days", "-1").code == 2


def test_a_table_of_which_records_were_pruned_is_left_as_it_is(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    harness.picture("shots/0.png")
    harness.picture("shots/1.png", 5)
    batch_id = run_command("batch", "submit", "shots", "--json").records[0]["batch_id"]
    run_command("results", batch_id)
    first = row_ids(harness.producer.ledger, batch_id)[0]
    harness.finish_step(first, State.CANCELLED)
    harness.producer.ledger.acknowledge_notification(f"job:{first}", 1)
    run_command("prune", "--days", "0")
    assert len(run_command("results", batch_id).records) == 1
    (table,) = (harness.folder / "output").glob("shots-*/manifest.csv")
    assert len(table.read_text().splitlines()) == 3


def test_rejected_rows_are_mended_in_their_own_file(
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
    # Twice the same makes no second file; another content destroys no mended one.
    run_command("batch", "submit", "jobs.csv")
    assert sorted(found.name for found in harness.folder.glob("jobs*")) == [
        *("jobs.csv", "jobs.rejected.csv"),
    ]
    path.write_text(bad.replace("500", "6").replace(",more", ""))
    mended = run_command("batch", "submit", path, "--name", "jobs.csv", "--json").records[0]
    assert (mended["jobs"], mended["duplicates"], mended["rejected"]) == (2, 0, [])
    assert mended["batch_id"] == answer.records[0]["batch_id"]
    skus = [
        result.data["sku"]
        for result in queries.list_batch_jobs(harness.producer, mended["batch_id"])
    ]
    assert skus == ["A", "B", "C"]


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
def test_manifests_without_a_usable_row_end_with_2(
    run_command: RunCommand, harness: ProducerHarness, name: str, text: bytes
) -> None:
    (harness.folder / name).write_bytes(text)
    answer = run_command("batch", "submit", name)
    assert answer.code == 2
    assert answer.err
    assert "Traceback" not in answer.err


def test_waiting_for_a_paused_batch_ends_and_says_so(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    (harness.folder / "jobs.csv").write_text(f"image\n{URL}\n")
    batch_id = run_command("batch", "submit", "jobs.csv", "--json").records[0]["batch_id"]
    run_command("batch", "pause", batch_id)
    answer = run_command("batch", "submit", "jobs.csv", "--wait", "--json")
    assert (answer.code, answer.records[0]["paused"]) == (4, True)
    assert "batch resume" in answer.err


def test_redo_is_a_new_job_of_the_same_batch(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    (harness.folder / "jobs.csv").write_text(f"image,sku\n{URL},A-1\n")
    batch_id = run_command("batch", "submit", "jobs.csv", "--json").records[0]["batch_id"]
    (parent,) = queries.list_batch_jobs(harness.producer, batch_id)
    assert run_command("redo", parent.job_id).code == 2, "it is under way"
    failed(harness, parent.job_id)
    run_command("batch", "pause", batch_id)
    again = run_command("redo", parent.job_id, "--prompt", "Show {sku} slowly", "--json").records[0]
    record = queries.get(harness.producer, again["job_id"])
    assert (record.parent_id, record.batch_id, record.prompt) == (
        *(parent.job_id, batch_id, "Show A-1 slowly"),
    )
    assert [job_id for job_id, _ in harness.producer.ledger.due(9, room=9, admit=9)] == [
        record.job_id
    ], "a pause of the batch does not hold it back"
    assert run_command("redo", "nope").code == 2


def test_redo_with_a_key_is_one_new_job_for_good(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    parent = harness.submit()
    failed(harness, parent)
    first = run_command("redo", parent, "--key", "k", "--json").records[0]
    again = run_command("redo", parent, "--key", "k", "--json").records[0]
    assert (first["duplicate"], again) == (False, {**first, "duplicate": True})
    assert run_command("redo", parent, "--key", "k", "--prompt", "Pan left").code == 2, (
        "other words"
    )
    assert run_command("redo", parent, parent, "--key", "k").code == 2, "one key, two jobs"


def test_redo_waits_and_ends_as_its_jobs_do(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    parent = harness.submit()
    failed(harness, parent)
    made = run_command("redo", parent, "--json").records[0]["job_id"]
    held(harness, made)
    answer = run_command("redo", parent, "--wait", "--json")
    assert (answer.code, answer.records[0]["job_id"]) == (4, made), "asked for again: the same job"


@pytest.mark.parametrize("name", ["gone.jpg", "pipe.jpg", "x.jpg", "empty.jpg"])
def test_what_is_no_picture_is_told_and_holds_up_nothing(
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


def test_rejected_rows_that_cannot_be_kept_stop_no_batch(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    (harness.folder / "jobs.csv").write_text(f"image\nnope.jpg\n{URL}\n")
    answer = run_command(
        "batch", "submit", "jobs.csv", "--json", "--rejects", "nowhere/rejected.csv"
    )
    assert answer.records[0]["jobs"] == 1
    assert "use --rejects FILE" in answer.err
    assert queries.get_batch(harness.producer, answer.records[0]["batch_id"]).sealed


def test_a_name_that_is_empty_is_not_the_working_directory(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    harness.picture("a.png")
    assert run_command("batch", "submit", "").code == 2
    assert list(queries.list_batches(harness.producer)) == []


def test_so_many_rejected_rows_are_told_in_part(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    (harness.folder / "jobs.csv").write_text("image\n" + "nope.jpg\n" * 250)
    answer = run_command("batch", "submit", "jobs.csv", "--dry-run")
    assert answer.err.count("nope.jpg") == 100
    assert "150 more" in answer.err


def test_a_disk_that_fails_is_told_in_words(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    (harness.folder / "jobs.csv").write_text("image\n")
    answer = run_command("batch", "submit", "jobs.csv", "--rejects", f"{'n' * 300}/x.csv")
    assert answer.code == 3
    assert "File name too long" in answer.err
