"""Source files on an SFTP server, with a real one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from config.store_address import StoreAddress
from tests.support.sftp import sftp_server
from worker.file_refusal import FileRefusedError
from worker.storage.source_store import SourceStore, SourceStores, fetch_allowed


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server with pictures in the folder "photos", and a link that leads out of it."""
    root = tmp_path / "root"
    for name in ("photos/a b.jpg", "photos/sub/c.jpg", "other/d.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"content")
    (root / "photos" / "link.jpg").symlink_to(root / "other" / "d.jpg")
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with sftp_server(root, home) as address:
        yield address


def test_files_are_listed_and_read(server: str, tmp_path: Path) -> None:
    folder = StoreAddress.parse(f"{server}/photos")
    assert list(SourceStore(folder).names(folder)) == ["a b.jpg", "sub/c.jpg"]
    SourceStores().fetch(f"{server}/photos/a b.jpg", tmp_path / "copy", max_bytes=100)
    assert (tmp_path / "copy").read_bytes() == b"content"


def test_a_folder_that_is_nested_too_deeply_is_not_left_out(server: str, tmp_path: Path) -> None:
    folder = StoreAddress.parse(f"{server}/photos")
    deepest = tmp_path.joinpath("root", "photos", *["d"] * 50)
    deepest.mkdir(parents=True)
    (deepest / "e.jpg").write_bytes(b"content")
    assert f"{'d/' * 50}e.jpg" in list(SourceStore(folder).names(folder))
    (deepest / "deeper").mkdir()
    with pytest.raises(FileRefusedError, match="more than 50 levels deep"):
        list(SourceStore(folder).names(folder))


def test_what_cannot_be_read_is_refused(server: str, tmp_path: Path) -> None:
    stores, to = SourceStores(), tmp_path / "copy"
    with pytest.raises(FileRefusedError, match="There is no file"):
        stores.fetch(f"{server}/photos/none.jpg", to, max_bytes=100)
    with pytest.raises(FileRefusedError, match="is larger than"):
        stores.fetch(f"{server}/photos/a b.jpg", to, max_bytes=3)
    with pytest.raises(FileRefusedError, match="refuses the login"):
        stores.fetch(f"{server.replace('me@', 'you@')}/photos/a b.jpg", to, max_bytes=100)
    (tmp_path / "home" / ".ssh" / "known_hosts").write_text("")
    with pytest.raises(FileRefusedError, match="not found in known_hosts"):
        stores.fetch(f"{server}/photos/a b.jpg", to, max_bytes=100)
    assert not to.exists()


def test_a_link_out_of_an_allowed_folder_is_refused(server: str, tmp_path: Path) -> None:
    roots = [StoreAddress.parse(f"{server}/photos")]
    link = StoreAddress.parse(f"{server}/photos/link.jpg")
    with pytest.raises(FileRefusedError, match="link out of") as refused:
        fetch_allowed(link, roots, tmp_path / "copy", max_bytes=100)
    assert refused.value.code == "forbidden_source"
    file = StoreAddress.parse(f"{server}/photos/sub/c.jpg")
    fetch_allowed(file, roots, tmp_path / "copy", max_bytes=100)
