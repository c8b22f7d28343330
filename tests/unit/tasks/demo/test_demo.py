"""What the demo refuses before it starts any process."""

import subprocess
from pathlib import Path

import pytest

from tasks.demo import demo
from tasks.demo.samples import ROOT, named_images
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


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        ("my photo.jpg", ["my photo.jpg"]),
        ("a.jpg b.jpg", ["a.jpg", "b.jpg"]),
        ("a.jpg my  two  spaces.jpg b.jpg", ["a.jpg", "my  two  spaces.jpg", "b.jpg"]),
        ("'my photo.jpg' b.jpg", ["my photo.jpg", "b.jpg"]),
        (r"my\ photo.jpg b.jpg", ["my photo.jpg", "b.jpg"]),
        ("it's.jpg a.jpg", ["it's.jpg", "a.jpg"]),
        ("https://example.org/a.jpg gone.jpg", ["https://example.org/a.jpg", "gone.jpg"]),
        ("$(touch x).jpg", ["$(touch x).jpg"]),
        ("no such file.JPG a.jpg", ["no such file.JPG", "a.jpg"]),
        ("several words", ["several", "words"]),
        ("  a.jpg\n b.jpg ", ["a.jpg", "b.jpg"]),
    ],
)
def test_names_of_images_in_one_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, names: list[str]
) -> None:
    for name in ("my photo.jpg", "a.jpg", "b.jpg", "my  two  spaces.jpg", "it's.jpg"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert named_images(text) == names


def test_make_passes_names_with_spaces_and_signs_of_the_shell(tmp_path: Path) -> None:
    """`make` runs a program that prints its arguments in the place of Python."""
    virtual = tmp_path / "venv"
    (virtual / "bin").mkdir(parents=True)
    (virtual / "bin" / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (virtual / "bin" / "python").chmod(0o755)
    images = """my photo.jpg 'b;rm -rf x' `touch y`"""
    command = ["make", "-s", "-o", f"{virtual}/.installed", "run", f"IMAGES={images}"]
    done = subprocess.run(
        [*command, f"VENV={virtual}", "BACKEND=cloud"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=150,
    )
    assert done.stdout.splitlines()[-4:] == ["--backend", "cloud", "--images", images]
