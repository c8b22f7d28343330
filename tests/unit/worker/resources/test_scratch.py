"""Scratch folders of killed processes are deleted, those in use are kept."""

import os
import tempfile
import time
from pathlib import Path

import pytest

from worker.resources.scratch import scratch_folder, sweep_scratch_folders
from worker.runtime.retention import DAY_SECONDS


@pytest.fixture
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_folder_of_a_killed_process_is_deleted_after_a_day(temp: Path) -> None:
    left, foreign = temp / "reelqueue-left", temp / "another-left"
    for folder in (left, foreign):
        folder.mkdir()
        (folder / "clip.mp4").write_bytes(b"half a clip")
        long_ago = time.time() - DAY_SECONDS - 60
        os.utime(folder, (long_ago, long_ago))
    with scratch_folder() as used:
        assert sweep_scratch_folders(DAY_SECONDS) == 1
        assert Path(used).parent == temp
        assert Path(used).is_dir()
    assert not left.exists()
    assert foreign.is_dir()


def test_a_folder_is_deleted_with_what_is_in_it_and_no_link_is_followed(temp: Path) -> None:
    elsewhere = temp / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    with scratch_folder() as used:
        deep = Path(used) / "a" / "b"
        deep.mkdir(parents=True)
        (deep / "clip.mp4").touch()
        (Path(used) / "link").symlink_to(elsewhere)
    assert list(temp.iterdir()) == [elsewhere]
    assert (elsewhere / "kept").exists()
    with scratch_folder() as swept:
        Path(swept).rmdir()


def test_a_symbolic_link_is_not_followed(temp: Path) -> None:
    target = temp / "reelqueue-target"
    target.mkdir()
    elsewhere = temp / "elsewhere"
    elsewhere.mkdir()
    (temp / "reelqueue-link").symlink_to(elsewhere)
    assert sweep_scratch_folders(-60) == 1
    assert not target.exists()
    assert elsewhere.is_dir()
