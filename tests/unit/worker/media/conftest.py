"""Where a file that is given lies, and where its changed copies go."""

from pathlib import Path

import pytest


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """Where the file to be prepared lies."""
    return tmp_path / "given"


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """Where changed copies go."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder
