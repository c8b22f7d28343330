"""Paths for the file to prepare and for its changed copies."""

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
