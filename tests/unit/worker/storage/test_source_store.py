"""Source files in a bucket, with a real S3 server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from config.store_address import StoreAddress
from tests.support.s3 import S3, s3_server
from worker.file_refusal import FileRefusedError
from worker.storage.source_store import SourceStore, SourceStores, fetch_allowed
from worker.storage.store import Store

NAMES = ("100%.jpg", "a b.jpg", "q?x=1.jpg", "sub/c.jpg", "ä#1.jpg")


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


@pytest.fixture
def bucket(s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A bucket with files in the folder "photos", and one beside it."""
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    name = s3.bucket()
    (tmp_path / "file").write_bytes(b"content")
    store = Store(f"s3://{name}")
    for key in (*(f"photos/{file}" for file in NAMES), "photos2/d.jpg"):
        store.put_file(tmp_path / "file", key)
    return name


def fetch(address: str, to: Path, max_bytes: int = 100) -> None:
    SourceStores().fetch(address, to, max_bytes=max_bytes)


def test_the_files_of_a_folder_are_listed_and_read_under_their_names(
    bucket: str, tmp_path: Path
) -> None:
    folder = StoreAddress.parse(f"s3://{bucket}/photos")
    assert list(SourceStore(folder).names(folder)) == list(NAMES)
    for name in NAMES:
        fetch(f"{folder}/{name}", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == b"content"
    whole = StoreAddress.parse(f"s3://{bucket}")
    assert len(list(SourceStore(whole).names(whole))) == len(NAMES) + 1
    none = StoreAddress.parse(f"s3://{bucket}/none")
    assert list(SourceStore(none).names(none)) == []


def test_what_cannot_be_read_is_refused_with_what_to_do(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "copy"
    with pytest.raises(FileRefusedError, match="There is no file") as missing:
        fetch(f"s3://{bucket}/photos/none.jpg", to)
    assert (missing.value.code, missing.value.repeatable) == ("source_unreachable", False)
    with pytest.raises(FileRefusedError, match="is larger than") as large:
        fetch(f"s3://{bucket}/photos/a b.jpg", to, max_bytes=3)
    assert large.value.code == "file_too_large"
    with pytest.raises(FileRefusedError, match="There is no bucket s3://no-such-bucket"):
        fetch("s3://no-such-bucket/a.jpg", to)
    with pytest.raises(FileRefusedError, match="must name a bucket") as alone:
        fetch("s3://", to)
    assert alone.value.code == "bad_request"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(FileRefusedError, match="cannot be read") as away:
        fetch(f"s3://{bucket}/photos/a b.jpg", to)
    assert away.value.repeatable
    assert not to.exists()


def test_another_service_may_name_only_files_under_the_allowed_addresses(
    bucket: str, tmp_path: Path
) -> None:
    roots = (tmp_path, StoreAddress.parse(f"s3://{bucket}/photos"))
    to = tmp_path / "copy"
    fetch_allowed(StoreAddress.parse(f"s3://{bucket}/photos/sub/c.jpg"), roots, to, max_bytes=100)
    assert to.read_bytes() == b"content"
    for other in (f"s3://{bucket}/photos2/d.jpg", f"s3://{bucket}/photos", "gs://bucket/a.jpg"):
        with pytest.raises(FileRefusedError, match="not under an allowed") as refused:
            fetch_allowed(StoreAddress.parse(other), roots, to, max_bytes=100)
        assert refused.value.code == "forbidden_source"


def test_wrong_credentials_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # The server checks credentials after its first action, which creates the bucket.
    monkeypatch.setenv("INITIAL_NO_AUTH_ACTION_COUNT", "1")
    with s3_server() as strict:
        name = strict.bucket()
        for variable, value in strict.env.items():
            monkeypatch.setenv(variable, value)
        folder = StoreAddress.parse(f"s3://{name}/photos")
        with pytest.raises(FileRefusedError, match="may not be read with these credentials"):
            list(SourceStore(folder).names(folder))
        with pytest.raises(FileRefusedError, match="HTTP status 403") as refused:
            fetch(f"{folder}/a.jpg", tmp_path / "copy")
        assert "AWS_ACCESS_KEY_ID" in refused.value.remedy


def test_missing_credentials_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(FileRefusedError, match="There are no credentials for az://photos"):
        fetch("az://photos/a.jpg", tmp_path / "copy")
