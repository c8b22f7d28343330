"""Copying files by path: only from allowed folders, and only files."""

import os
import socket
import threading
from pathlib import Path

import pytest

from worker.file_refusal import FileRefusedError
from worker.storage.allowed_paths import copy_allowed_file

IMAGE = b"\x89PNG\r\n\x1a\n"
SECRET = b"\x89PNG of another user"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An allowed folder, reached by a link."""
    real = tmp_path / "disk" / "photos"
    (real / "inner").mkdir(parents=True)
    (real / "a.png").write_bytes(IMAGE)
    (real / "inner" / "b.png").write_bytes(IMAGE)
    (tmp_path / "disk" / "secret.png").write_bytes(SECRET)
    (tmp_path / "allowed").symlink_to(real)
    return tmp_path / "allowed"


def copied(text: str, roots: list[Path], to: Path) -> bytes:
    """Copy a file and return its content."""
    copy_allowed_file(text, roots, to, max_bytes=100)
    return to.read_bytes()


def test_a_file_in_an_allowed_folder_is_copied(root: Path, tmp_path: Path) -> None:
    real, to = tmp_path / "disk" / "photos", tmp_path / "copy"
    assert copied(str(root / "a.png"), [tmp_path / "other", root], to) == IMAGE
    assert copied(str(real / "a.png"), [root], to) == IMAGE
    assert copied(str(root / "inner" / "b.png"), [root], to) == IMAGE
    (root / "link.png").symlink_to("inner/b.png")
    assert copied(str(root / "link.png"), [root], to) == IMAGE
    (root / "folder").symlink_to("inner")
    assert copied(str(root / "folder" / "b.png"), [root], to) == IMAGE


def refused(text: str, roots: list[Path], to: Path) -> FileRefusedError:
    """Return the refusal of a path."""
    with pytest.raises(FileRefusedError) as caught:
        copied(text, roots, to)
    assert not caught.value.repeatable
    return caught.value


def test_paths_outside_of_the_allowed_folders_are_forbidden(
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


def test_paths_that_are_not_files_are_refused_without_blocking(root: Path, tmp_path: Path) -> None:
    """Also a pipe without a writer, which would block when it is opened in the usual way."""
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))
        for text in (
            str(root / "missing.png"),
            str(root),
            str(root / "inner"),
            f"{root}/a\x00.png",
            str(root / "loop"),
            str(root / "pipe"),
            str(root / "socket"),
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
def test_a_path_that_changes_during_the_check_leads_nowhere_else(
    root: Path, tmp_path: Path, trap: str
) -> None:
    """Another process keeps replacing the file, or its folder, with a link and back."""
    secrets = tmp_path / "disk" / "secrets"
    secrets.mkdir()
    (secrets / "b.png").write_bytes(SECRET)
    target = root / "inner" / "b.png" if trap == "file" else root / "inner"
    link = root / "link"
    link.symlink_to(secrets / "b.png" if trap == "file" else secrets)
    stop = threading.Event()

    def swap() -> None:
        aside = root / "aside"
        while not stop.is_set():
            for one, other in ((target, aside), (link, target), (target, link), (aside, target)):
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
    assert IMAGE in seen
    assert SECRET not in seen
    assert seen <= {IMAGE, b"bad_request", b"forbidden_source"}


def test_a_file_is_found_in_another_spelling_but_not_through_a_link(
    root: Path, tmp_path: Path
) -> None:
    (root / "Cafe\u0301.png").write_bytes(IMAGE)
    to = tmp_path / "copy"
    assert copied(str(root / "Caf\u00e9.png"), [root], to) == IMAGE
    (root / "E\u0301.png").symlink_to(tmp_path / "disk" / "secret.png")
    assert refused(str(root / "\u00c9.png"), [root], to).code == "bad_request"
