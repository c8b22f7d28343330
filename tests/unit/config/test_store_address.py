"""Addresses of files in stores."""

import pytest

from config.settings import Settings, StorageSettings
from config.store_address import StoreAddress, is_store_address


@pytest.mark.parametrize(
    ("text", "root", "path"),
    [
        ("s3://bucket", "s3://bucket", ()),
        ("S3://bucket/", "s3://bucket", ()),
        ("s3://bucket/a b/ä#1?x=%20.jpg", "s3://bucket", ("a b", "ä#1?x=%20.jpg")),
        ("gs://my_bucket.example/a/", "gs://my_bucket.example", ("a",)),
        ("az://container/a", "az://container", ("a",)),
        ("sftp://me@Files.example:2222/home/me", "sftp://me@files.example:2222", ("home", "me")),
        ("sftp://[::1]/a", "", ()),
    ],
)
def test_the_path_is_not_parsed_as_that_of_a_url(
    text: str, root: str, path: tuple[str, ...]
) -> None:
    if not root:
        with pytest.raises(ValueError, match="without ::"):
            StoreAddress.parse(text)
        return
    address = StoreAddress.parse(text)
    assert (address.root, address.path) == (root, path)
    assert StoreAddress.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        *("s3://", "s3:///a", "s3:/bucket/a", "bucket/a", "s3a://bucket/a", "ftp://host/a"),
        *("file:///etc/passwd", "zip://a::s3://bucket/b", "simplecache::s3://bucket/b"),
        *("s3://bucket/a::b", "s3://bucket/../other", "s3://bucket/a/./b", "s3://bucket/a//b"),
        *("s3://user@bucket/a", "s3://user:pass@bucket/a", "s3://bucket:9000/a", "s3://b\\c/a"),
        *("sftp://me:secret@host/a", "sftp:///a", "s3://bucket/a\\b", "s3://bucket/a\nb"),
    ],
)
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must") as error:
        StoreAddress.parse(text)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "is_under"),
    [
        ("s3://bucket/photos/a.jpg", True),
        ("s3://bucket/photos/sub/a.jpg", True),
        ("s3://bucket/photos", False),
        ("s3://bucket/photos2/a.jpg", False),
        ("s3://other/photos/a.jpg", False),
        ("gs://bucket/photos/a.jpg", False),
    ],
)
def test_a_folder_holds_what_lies_under_it(text: str, *, is_under: bool) -> None:
    folder = StoreAddress.parse("s3://bucket/photos/")
    assert StoreAddress.parse(text).is_under(folder) is is_under


def test_media_roots_take_folders_and_addresses() -> None:
    storage = StorageSettings.model_validate({"media_roots": "/data, s3://bucket/photos"})
    assert [str(root) for root in storage.media_roots] == ["/data", "s3://bucket/photos"]
    assert "s3://bucket/photos" not in repr(Settings())


@pytest.mark.parametrize("text", ["s3://", "ftp://host/a", "a::s3://bucket/b", "s3://bucket/../x"])
def test_a_media_root_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        StorageSettings.model_validate({"media_roots": text})


def test_other_texts_are_no_store_addresses() -> None:
    assert is_store_address("GS://x")
    assert not any(map(is_store_address, ("", "/a", "https://x", "file:///a", "a b", "c:\\a")))
