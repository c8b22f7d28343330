"""What a folder syncs to disk before and after a file appears under its key."""

import os
import shutil
from pathlib import Path

import pytest

from worker.storage.local_folder import LocalFolder


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the folders and files that were synced, in order; partial files are ``part``."""
    names: list[str] = []

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        names.append(path.name if path.is_dir() else "part")

    monkeypatch.setattr(os, "fsync", fsync)
    return names


def test_the_entry_of_a_folder_is_synced_once(tmp_path: Path, synced: list[str]) -> None:
    source, root = tmp_path / "source", tmp_path / "root"
    source.write_bytes(b"a picture")
    folder = LocalFolder(root)
    folder.write(source, "ab/one")
    assert synced == ["part", "ab", "root"]
    folder.write(source, "ab/two")
    assert synced[3:] == ["part", "ab"]
    folder.write(source, "cd/three")
    assert synced[5:] == ["part", "cd", "root"]


def test_the_entry_of_a_folder_that_was_deleted_is_written_again(
    tmp_path: Path, synced: list[str]
) -> None:
    source, root = tmp_path / "source", tmp_path / "root"
    source.write_bytes(b"a picture")
    folder = LocalFolder(root)
    folder.write(source, "a/b/one")
    assert synced == ["part", "b", "a", "root"]
    shutil.rmtree(root / "a")
    folder.write(source, "a/b/one")
    assert synced[4:] == ["part", "b", "a", "root"]
