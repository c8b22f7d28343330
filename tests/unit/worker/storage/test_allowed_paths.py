"""A path that somebody else names counts only where such files may lie, and only a file does."""

import os
import socket
import threading
from pathlib import Path

import pytest

from worker.file_refusal import FileRefusedError
from worker.storage.allowed_paths import copy_allowed_file

PICTURE = b"\x89PNG\r\n\x1a\n"
SECRET = b"\x89PNG of somebody else"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder that is open for jobs, reached by a link as it often is."""
    real = tmp_path / "disk" / "photos"
    (real / "inner").mkdir(parents=True)
    (real / "a.png").write_bytes(PICTURE)
    (real / "inner" / "b.png").write_bytes(PICTURE)
    (tmp_path / "disk" / "secret.png").write_bytes(SECRET)
    (tmp_path / "open").symlink_to(real)
    return tmp_path / "open"


def copied(text: str, roots: list[Path], to: Path) -> bytes:
    """What is taken of a path."""
    copy_allowed_file(text, roots, to, max_bytes=100)
    return to.read_bytes()


def test_a_file_under_a_root(root: Path, tmp_path: Path) -> None:
    real, to = tmp_path / "disk" / "photos", tmp_path / "copy"
    assert copied(str(root / "a.png"), [tmp_path / "other", root], to) == PICTURE
    assert copied(str(real / "a.png"), [root], to) == PICTURE
    assert copied(str(root / "inner" / "b.png"), [root], to) == PICTURE
    (root / "link.png").symlink_to("inner/b.png")
    assert copied(str(root / "link.png"), [root], to) == PICTURE
    (root / "folder").symlink_to("inner")
    assert copied(str(root / "folder" / "b.png"), [root], to) == PICTURE


def refused(text: str, roots: list[Path], to: Path) -> FileRefusedError:
    """The refusal of a path."""
    with pytest.raises(FileRefusedError) as caught:
        copied(text, roots, to)
    assert not caught.value.repeatable
    return caught.value


def test_paths_out_of_the_roots_are_forbidden(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "out.png").symlink_to(tmp_path / "disk" / "secret.png")
    (root / "up").symlink_to("..")
    monkeypatch.chdir(root)
    for text in (
        str(tmp_path / "disk" / "secret.png"),
        str(root / ".." / "disk" / "secret.png"),
        str(root / "out.png"),
        str(root / "up" / "secret.png"),
        f"{tmp_path}/disk/photos-of-others/a.png",
        "/etc/passwd",
        "/no/such/file",
        "a.png",
        "",
    ):
        error = refused(text, [root], tmp_path / "copy")
        assert error.code == "forbidden_source", text
        assert "REELQUEUE_MEDIA_ROOTS" in error.remedy
    assert refused(str(root / "a.png"), [], tmp_path / "copy").code == "forbidden_source"


def test_paths_that_are_no_files_are_refused_at_once(root: Path, tmp_path: Path) -> None:
    """A pipe without a writer too, which would hold up who opens it in the usual way."""
    (root / "circle").symlink_to("circle")
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(root / "door"))
        for text in (
            str(root / "gone.png"),
            str(root),
            str(root / "inner"),
            f"{root}/a\x00.png",
            str(root / "circle"),
            str(root / "pipe"),
            str(root / "door"),
            str(root / "a.png" / "b.png"),
        ):
            assert refused(text, [root], tmp_path / "copy").code == "bad_request", text
    assert refused("/dev/zero", [Path("/dev")], tmp_path / "copy").code == "bad_request"


def test_a_file_that_is_too_large_is_refused(root: Path, tmp_path: Path) -> None:
    (root / "large.png").write_bytes(bytes(101))
    error = refused(str(root / "large.png"), [root], tmp_path / "copy")
    assert error.code == "file_too_large"
    (root / "large.png").write_bytes(bytes(100))
    assert len(copied(str(root / "large.png"), [root], tmp_path / "copy")) == 100


@pytest.mark.parametrize("trap", ["file", "folder"])
def test_what_changes_under_the_look_leads_nowhere_else(
    root: Path, tmp_path: Path, trap: str
) -> None:
    """Somebody who may write there changes a file, or its folder, to and fro with a link."""
    secrets = tmp_path / "disk" / "secrets"
    secrets.mkdir()
    (secrets / "b.png").write_bytes(SECRET)
    place = root / "inner" / "b.png" if trap == "file" else root / "inner"
    evil = root / "evil"
    evil.symlink_to(secrets / "b.png" if trap == "file" else secrets)
    stop = threading.Event()

    def swap() -> None:
        aside = root / "aside"
        while not stop.is_set():
            for one, other in ((place, aside), (evil, place), (place, evil), (aside, place)):
                one.rename(other)

    thread = threading.Thread(target=swap)
    thread.start()
    seen = set()
    try:
        for _ in range(3000):
            try:
                seen.add(copied(str(root / "inner" / "b.png"), [root], tmp_path / "copy"))
            except FileRefusedError as error:
                seen.add(error.code.encode())
    finally:
        stop.set()
        thread.join()
    assert PICTURE in seen
    assert SECRET not in seen
    assert seen <= {PICTURE, b"bad_request", b"forbidden_source"}
