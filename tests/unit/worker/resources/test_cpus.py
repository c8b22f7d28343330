"""The processors that a process may use."""

import os
from pathlib import Path

import pytest

from worker.resources.cpus import usable_cpus


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("", {}, 64),
        ("0::/", {"cpu.max": "max 100000"}, 64),
        ("0::/", {"cpu.max": "400000 100000"}, 4),
        ("0::/", {"cpu.max": "150000 100000"}, 1),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/a/b", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3),
        ("0::/host/path", {"cpu.max": "200000 100000"}, 2),
        ("0::/", {"cpu.max": "junk"}, 64),
        ("0::/", {"cpu.max": "0 0"}, 64),
        (
            "4:memory:/m\n3:cpu,cpuacct:/a",
            {"cpu/a/cpu.cfs_quota_us": "250000", "cpu/a/cpu.cfs_period_us": "100000"},
            2,
        ),
        (
            "3:cpu,cpuacct:/a",
            {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"},
            64,
        ),
    ],
)
def test_the_lowest_quota_counts(
    own: str,
    files: dict[str, str],
    expected: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        file = tmp_path / "mounted" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert usable_cpus(tmp_path / "own", tmp_path / "mounted") == expected


def test_the_affinity_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    assert usable_cpus(tmp_path / "none", tmp_path) == 2


def test_this_machine_has_some() -> None:
    assert 1 <= usable_cpus() <= (os.cpu_count() or 1)
