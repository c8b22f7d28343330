"""Errors: a message and an exit code, never a traceback."""

import pytest

from tests.support.waiting import free_port
from tests.unit.tasks.conftest import ProducerHarness, RunCommand

URL = "https://example.org/a.jpg"


def test_unreachable_redis_exits_with_3_and_says_what_to_do(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", f"redis://:hush@127.0.0.1:{free_port()}/0")
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


def test_a_file_system_error_exits_with_3(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    (harness.folder / "jobs.csv").write_text("image\n")
    answer = run_command("batch", "submit", "jobs.csv", "--rejects", f"{'n' * 300}/x.csv")
    assert answer.code == 3
    assert "File name too long" in answer.err
