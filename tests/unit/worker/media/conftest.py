"""Paths for the file to prepare, for its changed copies, and for a clip."""

from pathlib import Path

import pytest


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """The path of the file to prepare."""
    return tmp_path / "given"


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """The folder for changed copies."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the clip."""
    return tmp_path / "clip.mp4"
