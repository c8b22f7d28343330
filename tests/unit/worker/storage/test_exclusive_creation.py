"""Creating a file under a key never replaces a file that exists under it."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.ftp import ftp_server
from tests.support.s3 import S3, s3_server
from worker.storage import object_folder
from worker.storage.errors import NotStoredError, StoreError
from worker.storage.partial_files import PARTIAL_FOLDER
from worker.storage.store import Store

WRITERS = 6


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


@pytest.fixture(scope="module")
def ftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ftp_server(tmp_path_factory.mktemp("ftp")) as url:
        yield url


@pytest.fixture(params=["file", "no hard links", "memory", "ftp", "s3", "s3 in parts"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty store of each kind."""
    match request.param:
        case "memory":
            return f"memory://{uuid4().hex}/clips"
        case "ftp":
            return f"{request.getfixturevalue('ftp')}/{uuid4().hex}"
        case "s3" | "s3 in parts":
            if request.param == "s3 in parts":
                monkeypatch.setattr(object_folder, "LARGE_BYTES", 1)
            server: S3 = request.getfixturevalue("s3")
            for name, value in server.env.items():
                monkeypatch.setenv(name, value)
            return f"s3://{server.bucket()}/clips"
        case "no hard links":

            def link(*_: object) -> None:
                raise PermissionError(1, "Operation not permitted")

            monkeypatch.setattr(os, "link", link)
    return (tmp_path / "clips").as_uri()


def content(store: Store, key: str, folder: Path) -> bytes:
    to = folder / uuid4().hex
    store.fetch(key, to)
    return to.read_bytes()


def test_a_file_is_created_once(url: str, tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.write_bytes(b"clip of one ledger, paid")
    second.write_bytes(b"clip of another ledger, paid")
    store = Store(url)
    assert store.create_file(first, "single/cat.mp4")
    assert not Store(url).create_file(second, "single/cat.mp4")
    assert content(store, "single/cat.mp4", tmp_path) == first.read_bytes()
    store.put_file(second, "single/cat.mp4")
    assert content(store, "single/cat.mp4", tmp_path) == second.read_bytes()
    store.delete("single/cat.mp4")
    assert not store.exists("single/cat.mp4")
    assert store.create_file(first, "single/cat.mp4")


def test_of_several_writers_at_the_same_time_one_creates_the_file(url: str, tmp_path: Path) -> None:
    start = threading.Barrier(WRITERS)
    created: list[int] = []

    def create(number: int) -> None:
        path = tmp_path / f"w{number}"
        path.write_bytes(bytes([number]) * 200_000)
        store = Store(url)
        start.wait(60)
        if store.create_file(path, "single/cat.mp4"):
            created.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    (winner,) = created
    assert content(Store(url), "single/cat.mp4", tmp_path) == bytes([winner]) * 200_000


def test_a_bucket_stores_reports_and_deletes(
    s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    store = Store(f"s3://{s3.bucket()}/media")
    store.check()
    picture = tmp_path / "picture"
    picture.write_bytes(os.urandom(300_000))
    key = store.put_content(picture, ".jpg")
    assert content(store, key, tmp_path) == picture.read_bytes()
    assert not store.exists(key[:2])
    assert store.sweep_partial_files(0) == 0
    assert store.local_path(key) is None
    store.delete(key)
    store.delete(key)
    with pytest.raises(NotStoredError, match="There is no file"):
        content(store, key, tmp_path)


def test_a_bucket_that_does_not_exist_is_named_with_a_remedy(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreError, match="s3://no-such-bucket/media cannot be written") as caught:
        Store("s3://no-such-bucket/media").check()
    assert "\n" not in caught.value.message
    assert caught.value.remedy


def test_a_store_whose_package_is_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    with pytest.raises(StoreError, match="obstore is not installed") as caught:
        Store("s3://bucket/media")
    assert "reelqueue[s3]" in caught.value.remedy


def test_a_large_file_is_sent_to_a_bucket_in_parts_and_leaves_none_behind(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(object_folder, "LARGE_BYTES", 6_000_000)
    clip, bucket = tmp_path / "clip", s3.bucket()
    store = Store(f"s3://{bucket}/clips")
    clip.write_bytes(os.urandom(6_000_000))
    assert store.create_file(clip, "single/large.mp4")
    assert content(store, "single/large.mp4", tmp_path) == clip.read_bytes()
    assert sum("partNumber" in path for _, path in s3.requests(f"{bucket}/clips/.parts/")) == 2
    assert store.sweep_partial_files(-60) == 0, "the copy was deleted"


def test_parts_of_a_killed_writer_are_swept(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    clip, folder = tmp_path / "clip", object_folder.ObjectFolder(f"s3://{s3.bucket()}/clips")
    clip.write_bytes(b"part of a clip")
    folder.write(clip, f"{PARTIAL_FOLDER}/1-old")
    folder.write(clip, "single/cat.mp4")
    assert folder.sweep_partial_files(2) == 1
    assert not folder.exists(f"{PARTIAL_FOLDER}/1-old")
    assert folder.exists("single/cat.mp4")
