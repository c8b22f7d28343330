"""Variables that are named like settings and are none."""

import os
from pathlib import Path

import pytest

from config.unknown_variables import UnknownVariable, unknown_variables


@pytest.fixture(autouse=True)
def _no_other_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Leave out the variables of the process that runs the tests, and its `.env` file."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("REELQUEUE_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("REELQUEUE_TICK_SECOND", "REELQUEUE_TICK_SECONDS"),
        ("REELQUEUE_CONCURENCY", "REELQUEUE_CONCURRENCY"),
        ("reelqueue_concurency", "REELQUEUE_CONCURRENCY"),
        ("REELQUEUE_REDIS_URL", "REDIS_URL"),
        ("REELQUEUE_XYZ", None),
    ],
)
def test_the_nearest_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, nearest: str | None
) -> None:
    monkeypatch.setenv(name, "1")
    assert list(unknown_variables()) == [UnknownVariable(name.upper(), nearest)]


def test_the_file_is_read_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("REELQUEUE_LEASES=1\nOTHER=1\nREELQUEUE_LEASE_SECONDS=30\n")
    assert [unknown.name for unknown in unknown_variables()] == ["REELQUEUE_LEASES"]


@pytest.mark.parametrize(
    "name",
    [
        *("REELQUEUE_TICK_SECONDS", "REELQUEUE_HINT_CAP", "REELQUEUE_TEST_SEED"),
        *("REELQUEUE_FAULTPOINTS", "_REELQUEUE_COMPLETE", "OTHER"),
    ],
)
def test_known_variables_and_those_of_others_are_left_out(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    assert list(unknown_variables()) == []
