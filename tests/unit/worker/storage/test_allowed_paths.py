"""Copying files by path: only from allowed folders, and only files."""

import os
import socket
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

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


class Swapper:
    """Replaces a file or folder with a link before a system call, and puts it back before another.

    Args:
        target: The file or folder.
        link: The link.
    """

    def __init__(self, target: Path, link: Path) -> None:
        self._target, self._link, self._aside = target, link, target.with_name("aside")
        self._is_swapped = False
        self.begin = self.end = -1
        self.calls = 0

    def count(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return a system call before which the swap may happen."""

        def run(*arguments: Any, **options: Any) -> Any:
            if self.calls == self.begin:
                self._target.rename(self._aside)
                self._link.rename(self._target)
                self._is_swapped = True
            if self.calls == self.end:
                self.restore()
            self.calls += 1
            return call(*arguments, **options)

        return run

    def restore(self) -> None:
        """Put the file or folder back if it is replaced."""
        if self._is_swapped:
            self._target.rename(self._link)
            self._aside.rename(self._target)
            self._is_swapped = False


@pytest.mark.parametrize("trap", ["file", "folder"])
def test_a_path_that_changes_during_the_check_does_not_lead_elsewhere(
    root: Path, tmp_path: Path, trap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process replaces the file, or its folder, with a link at any moment, and back."""
    secrets = tmp_path / "disk" / "secrets"
    secrets.mkdir()
    (secrets / "b.png").write_bytes(SECRET)
    link = root / "link"
    link.symlink_to(secrets / "b.png" if trap == "file" else secrets)
    swapper = Swapper(root / "inner" / "b.png" if trap == "file" else root / "inner", link)
    for name in ("lstat", "readlink", "stat", "scandir", "listdir", "open"):
        monkeypatch.setattr(os, name, swapper.count(getattr(os, name)))

    def outcome(begin: int, end: int) -> bytes:
        swapper.begin, swapper.end, swapper.calls = begin, end, 0
        try:
            return copied(str(root / "inner" / "b.png"), [root], tmp_path / "copy")
        except FileRefusedError as error:
            return error.code.encode()
        finally:
            swapper.restore()

    assert outcome(-1, -1) == IMAGE
    moments = range(swapper.calls + 1)
    assert len(moments) > 5
    seen = {outcome(begin, end) for begin, end in combinations(moments, 2)}
    assert IMAGE in seen
    assert SECRET not in seen
    assert seen <= {IMAGE, b"bad_request", b"forbidden_source"}
    assert seen > {IMAGE}, "a swap was met"


def test_a_file_is_found_in_another_spelling_but_not_through_a_link(
    root: Path, tmp_path: Path
) -> None:
    (root / "Cafe\u0301.png").write_bytes(IMAGE)
    to = tmp_path / "copy"
    assert copied(str(root / "Caf\u00e9.png"), [root], to) == IMAGE
    (root / "E\u0301.png").symlink_to(tmp_path / "disk" / "secret.png")
    assert refused(str(root / "\u00c9.png"), [root], to).code == "bad_request"
