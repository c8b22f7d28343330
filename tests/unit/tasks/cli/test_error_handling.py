"""Errors: a message and an exit code, never a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import refusing_port
from tests.unit.tasks.conftest import ProducerHarness, RunCommand

URL = "https://example.org/a.jpg"


def test_unreachable_redis_exits_with_3_and_says_what_to_do(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", f"redis://:hush@127.0.0.1:{refusing_port()}/0")
    for command in (["list"], ["submit", URL, "--json"], ["status", "x"], ["credits"]):
        answer = run_command(*command)
        assert (answer.code, answer.out) == (3, "")
        assert "reelqueue valkey" in answer.err
        assert "hush" not in answer.err


def test_an_invalid_setting_is_named(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELQUEUE_CONCURRENCY", "none")
    answer = run_command("list")
    assert answer.code == 2
    assert "concurrency" in answer.err.lower()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("batch submit x.csv --pilot 0", "'--pilot': must be at least 1"),
        ("batch submit x.csv --max-credits x", "'--max-credits': must be a number"),
        ("list --limit x", "'--limit': must be a whole number"),
        ("redo x --state done", "'--state': 'done' is not one of"),
        ("results x --format pdf", "'--format': 'pdf' is not one of 'jsonl'"),
    ],
)
def test_a_wrong_option_is_explained_in_the_words_of_the_project(
    arguments: str, message: str, run_command: RunCommand
) -> None:
    answer = run_command(*arguments.split())
    assert answer.code == 2
    assert f"Invalid value for {message}" in " ".join(answer.err.replace("│", " ").split())


def test_a_file_system_error_exits_with_3(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    (harness.folder / "jobs.csv").write_text("image\n")
    answer = run_command("batch", "submit", "jobs.csv", "--rejects", f"{'n' * 300}/x.csv")
    assert answer.code == 3
    assert "File name too long" in answer.err


@pytest.mark.usefixtures("run_command")
@pytest.mark.parametrize("form", [["--json"], []])
def test_a_closed_output_ends_a_command_quietly(harness: ProducerHarness, form: list[str]) -> None:
    """As ``reelqueue list --json | head -1`` does. 1 would say that a job has failed."""
    harness.submit_batch(3)
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "tasks.cli", "list", *form],
            stdout=closed,
            stderr=subprocess.PIPE,
            check=False,
            timeout=150,
        )
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.usefixtures("run_command")
def test_a_full_output_is_an_error_of_the_command(harness: ProducerHarness) -> None:
    harness.submit_batch(1)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tasks.cli", "list", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=150,
        )
    assert done.returncode == 3
    assert done.stderr.decode().splitlines() == ["The output or a file: No space left on device."]
