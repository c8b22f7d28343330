"""``reelqueue submit``."""

import threading
from collections.abc import Sequence

import pytest

from tests.support.ledger_access import recent_ids
from tests.unit.tasks.cli.job_ends import finish_jobs
from tests.unit.tasks.conftest import ProducerHarness, RunCommand
from worker.ledger.model.states import State

URL = "https://example.org/a.jpg"


def test_one_record_per_image_is_printed(run_command: RunCommand, harness: ProducerHarness) -> None:
    harness.picture("a.png")
    answer = run_command("submit", "a.png", URL, "--json")
    assert answer.code == 0
    assert [sorted(record) for record in answer.records] == [["duplicate", "job_id", "state"]] * 2
    assert answer.err == ""
    found = run_command("status", *(record["job_id"] for record in answer.records), "--json")
    assert [record["image"] for record in found.records] == ["a.png", URL]


@pytest.mark.parametrize("as_json", [True, False])
def test_all_bad_files_are_named_and_nothing_is_submitted(
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


def test_the_command_for_folders_and_tables_is_named(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    harness.picture("my photos/a.png")
    (harness.folder / "rows.csv").write_text("image\na.png\n")
    answer = run_command("submit", "my photos", "rows.csv")
    assert answer.code == 2
    assert "my photos is a folder: `reelqueue batch submit 'my photos'`" in answer.err
    assert "rows.csv can be a manifest: `reelqueue batch submit rows.csv`" in answer.err
    harness.picture("a.png")
    answer = run_command("batch", "submit", "a.png")
    assert answer.code == 2
    assert "`reelqueue submit a.png`" in answer.err


def test_an_address_that_workers_may_refuse_is_named(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = "http://192.168.1.5:8080/a.jpg?token=hunter2"
    answer = run_command("submit", private, URL, "--json")
    assert (answer.code, len(answer.records)) == (0, 2)
    (line,) = answer.err.splitlines()
    assert line.startswith("http://192.168.1.5:8080/a.jpg is a private address.")
    assert "REELQUEUE_PRIVATE_HOSTS" in line
    monkeypatch.setenv("REELQUEUE_PRIVATE_HOSTS", "192.168.1.5:8080")
    assert run_command("submit", private, "--json").err == ""


@pytest.mark.parametrize(
    "options",
    [
        ["--key", "k", URL],
        ["--seconds", "99"],
        ["--aspect", "4:3"],
        ["--colour", "red"],
    ],
)
def test_bad_usage_exits_with_2(run_command: RunCommand, options: list[str]) -> None:
    answer = run_command("submit", URL, *options)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err


def test_a_key_is_one_job_and_a_conflict_exits_with_2(run_command: RunCommand) -> None:
    first = run_command("submit", URL, "--key", "k", "--json").records[0]
    assert run_command("submit", URL, "--key", "k", "--json").records == [
        {**first, "duplicate": True}
    ]
    answer = run_command("submit", URL, "--key", "k", "--seconds", "5", "--json")
    assert (answer.code, answer.out) == (2, "")
    assert "another payload" in answer.err


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ((State.SUCCEEDED, State.SUCCEEDED), 0),
        ((State.SUCCEEDED, State.CANCELLED), 0),
        ((State.SUCCEEDED, State.HELD), 4),
        ((State.FAILED, State.HELD), 1),
    ],
)
def test_wait_prints_the_results_in_order_and_exits_with_the_code_for_them(
    run_command: RunCommand, harness: ProducerHarness, ends: Sequence[State], code: int
) -> None:
    """The jobs end in the order of their submission while the command waits."""
    worker = threading.Thread(target=finish_jobs, args=(harness, ends))
    worker.start()
    urls = [f"https://example.org/{n}.jpg" for n in range(len(ends))]
    answer = run_command("submit", *urls, "--wait", "--json")
    worker.join()
    assert [record["image"] for record in answer.records] == urls
    assert [record["state"] for record in answer.records] == list(ends)
    assert answer.code == code
