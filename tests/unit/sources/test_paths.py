"""A path that somebody else names counts only where such files may lie."""

from pathlib import Path

import pytest

from worker.sources import SourceRefused, resolve_path

PICTURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder that is open for jobs, reached by a link as it often is."""
    real = tmp_path / "disk" / "photos"
    real.mkdir(parents=True)
    (real / "a.png").write_bytes(PICTURE)
    (tmp_path / "disk" / "secret.png").write_bytes(PICTURE)
    (tmp_path / "open").symlink_to(real)
    return tmp_path / "open"


def test_a_file_under_a_root(root: Path, tmp_path: Path) -> None:
    real = tmp_path / "disk" / "photos" / "a.png"
    assert resolve_path(str(root / "a.png"), [tmp_path / "other", root]) == real
    assert resolve_path(str(real), [root]) == real
    (root / "link.png").symlink_to("a.png")
    assert resolve_path(str(root / "link.png"), [root]) == real


def forbidden(text: str, roots: list[Path]) -> SourceRefused:
    """The refusal of a path."""
    with pytest.raises(SourceRefused) as caught:
        resolve_path(text, roots)
    assert "REELQUEUE_MEDIA_ROOTS" in caught.value.remedy
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
        assert forbidden(text, [root]).code == "forbidden_source", text
    assert forbidden(str(root / "a.png"), []).code == "forbidden_source"


def test_paths_that_are_no_files(root: Path) -> None:
    (root / "circle").symlink_to("circle")
    for text in (str(root / "gone.png"), str(root), f"{root}/a\x00.png", str(root / "circle")):
        assert forbidden(text, [root]).code == "bad_request", text
