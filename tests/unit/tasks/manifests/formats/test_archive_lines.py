"""Archives of images as manifests."""

import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from tasks.manifests.formats import archive_lines
from tasks.manifests.formats.archive_lines import ImageArchive
from tasks.manifests.lines import ManifestError
from tasks.manifests.manifest import open_manifest
from worker.file_refusal import FileRefusedError

JPEG = b"\xff\xd8\xff" + bytes(100)


def archive(folder: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    path = folder / "photos.zip"
    with zipfile.ZipFile(path, "w", method) as written:
        for name, content in files.items():
            written.writestr(name, content)
    return path


def patched(path: Path, *changes: tuple[bytes, bytes]) -> Path:
    content = path.read_bytes()
    for old, new in changes:
        assert old in content
        content = content.replace(old, new)
    path.write_bytes(content)
    return path


def test_images_of_all_folders_by_name(tmp_path: Path) -> None:
    files = dict.fromkeys(
        [
            *("b.jpg", "a/c.PNG", "a/b/d.heic", "e\\f.gif", "notes.txt", "inner.zip", "x.mp4"),
            *("__MACOSX/._b.jpg", "__MACOSX/b.jpg", "a/.DS_Store", "a/._c.png", ".trash/g.jpg"),
        ],
        JPEG,
    )
    manifest = open_manifest(archive(tmp_path, files))
    assert [(row.number, row.job.image) for row in manifest.rows if row.job] == [
        *((1, "a/b/d.heic"), (2, "a/c.PNG"), (3, "b.jpg"), (4, "e/f.gif")),
    ]
    assert [(left.name, left.reason) for left in manifest.left_out] == [
        ("inner.zip", "not an image (.zip)"),
        ("notes.txt", "not an image (.txt)"),
        ("x.mp4", "not an image (.mp4)"),
    ]
    assert (manifest.name, manifest.rejects) == ("photos.zip", None)
    assert manifest.columns.as_dict() == {"used": ["image"], "ignored": []}


@pytest.mark.parametrize(
    "name",
    ["../../etc/a.jpg", "/etc/a.jpg", "./etc//a.jpg", "etc\\..\\a.jpg", "https://x.example/a.jpg"],
)
def test_names_are_no_paths(tmp_path: Path, name: str) -> None:
    read = ImageArchive(archive(tmp_path, {name: JPEG}))
    (line,) = read.lines()
    image = str(line.fields["image"])
    assert not image.startswith("/")
    assert ".." not in image
    assert "://" not in image
    read.fetch(image, tmp_path / "copy", max_bytes=1000)
    assert (tmp_path / "copy").read_bytes() == JPEG
    assert sorted(found.name for found in tmp_path.iterdir()) == ["copy", "photos.zip"]


def test_two_files_of_one_name(tmp_path: Path) -> None:
    first, second = open_manifest(archive(tmp_path, {"a.jpg": JPEG, "./a.jpg": b"other"})).rows
    assert first.job
    assert second.reason == "image: a.jpg: the archive has several files of this name"


def test_a_name_in_utf8_that_is_not_marked_as_such(tmp_path: Path) -> None:
    path = patched(archive(tmp_path, {"Kaaese.jpg": JPEG}), (b"Kaaese", "Käse".encode() + b"-"))
    (row,) = open_manifest(path).rows
    assert row.job
    assert row.job.image == "Käse-.jpg"


def test_an_encrypted_file_is_rejected(tmp_path: Path) -> None:
    path = archive(tmp_path, {"a.jpg": JPEG}, zipfile.ZIP_STORED)
    patched(path, (b"PK\1\2\x14\3\x14\0\0\0", b"PK\1\2\x14\3\x14\0\1\0"))
    (row,) = open_manifest(path).rows
    assert "it is encrypted. Make the archive again" in row.reason


def test_a_rare_compression_is_rejected(tmp_path: Path) -> None:
    (row,) = open_manifest(archive(tmp_path, {"a.jpg": JPEG}, zipfile.ZIP_LZMA)).rows
    assert "another method" in row.reason


def test_a_name_like_a_media_key_is_rejected(tmp_path: Path) -> None:
    (row,) = open_manifest(archive(tmp_path, {f"ab/{'ab' * 32}.jpg": JPEG})).rows
    assert "key in the media store" in row.reason


def test_a_file_that_is_larger_than_stated_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, {"a.jpg": JPEG})
    sizes = struct.pack("<L", len(JPEG))
    read = ImageArchive(patched(path, (sizes, struct.pack("<L", 10))))
    with pytest.raises(FileRefusedError, match=r"a\.jpg is damaged"):
        read.fetch("a.jpg", tmp_path / "copy", max_bytes=10_000)
    assert (tmp_path / "copy").stat().st_size <= 10


def test_damaged_content_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, {"a.jpg": JPEG})
    packed = zlib.compress(JPEG)[2:-4]
    read = ImageArchive(patched(path, (packed[:8], b"\xff" * 8)))
    with pytest.raises(FileRefusedError, match=r"a\.jpg is damaged"):
        read.fetch("a.jpg", tmp_path / "copy", max_bytes=10_000)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    read = ImageArchive(archive(tmp_path, {"a.jpg": JPEG}))
    with pytest.raises(FileRefusedError, match="too large"):
        read.fetch("a.jpg", tmp_path / "copy", max_bytes=10)


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_lines, "_SMALL", 0)
    with pytest.raises(ManifestError, match="claims to unpack to"):
        open_manifest(archive(tmp_path, {"a.bmp": bytes(10**7)}))


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_lines, "MAX_FILES", 2)
    with pytest.raises(ManifestError, match="over 2 files"):
        open_manifest(archive(tmp_path, dict.fromkeys(("a.jpg", "b.jpg", "c.txt"), JPEG)))


def test_a_long_list_of_files_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_lines, "MAX_DIRECTORY", 50)
    with pytest.raises(ManifestError, match="list of files"):
        open_manifest(archive(tmp_path, {"a.jpg": JPEG}))


def test_a_wrong_length_of_the_list_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, {"a.jpg": JPEG})
    content = path.read_bytes()
    at = content.rindex(b"PK\5\6")
    path.write_bytes(content[: at + 12] + b"\xff\xff\xff\x7f" + content[at + 16 :])
    with pytest.raises(ManifestError, match="2,147,483,647 bytes"):
        open_manifest(path)


@pytest.mark.parametrize("entries", [1, 2**40])
def test_what_a_large_archive_claims_is_checked(tmp_path: Path, entries: int) -> None:
    """An end record in the form for large archives has sizes of 64 bits."""
    path = archive(tmp_path, {"a.jpg": JPEG})
    content = path.read_bytes()
    at = content.rindex(b"PK\5\6")
    size, offset = struct.unpack_from("<2L", content, at + 12)
    end = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, size * entries, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
    old = content[at : at + 12] + b"\xff" * 8 + content[at + 20 :]
    path.write_bytes(content[:at] + end + locator + old)
    if entries == 1:
        assert [line.fields for line in ImageArchive(path).lines()] == [{"image": "a.jpg"}]
        return
    with pytest.raises(ManifestError, match="list of files"):
        open_manifest(path)


@pytest.mark.parametrize(
    "content", [b"", b"no archive", b"PK\3\4" + bytes(100), b"PK\5\6", b"PK\5\6" + b"\xff" * 18]
)
def test_a_file_that_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ManifestError, match=r"is not a \.zip file, or is damaged|list of files"):
        open_manifest(tmp_path / "a.zip")


def test_an_archive_of_a_table_says_what_to_do(tmp_path: Path) -> None:
    path = archive(tmp_path, {"in/jobs.csv": b"image\na.jpg\n"})
    with pytest.raises(ManifestError, match=r"has no images .* holds in/jobs\.csv: unpack"):
        open_manifest(path)
