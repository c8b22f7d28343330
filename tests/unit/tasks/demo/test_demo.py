"""What the demo refuses before it starts any process."""

from pathlib import Path

import pytest

from tasks.demo import demo
from tasks.demo.services import DemoPaths


def test_a_photo_that_does_not_exist_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.main(["--folder", str(tmp_path), "no-such.jpg"]) == 1
    assert "There is no file no-such.jpg" in capsys.readouterr().out


def test_the_real_api_needs_photos_to_be_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.main(["--folder", str(tmp_path), "--backend", "cloud"]) == 1
    assert "IMAGES" in capsys.readouterr().out


def test_a_second_demo_in_the_same_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with demo._exclusive(DemoPaths(tmp_path)):
        assert demo.main(["--folder", str(tmp_path)]) == 1
    assert "Another demo is running" in capsys.readouterr().out
