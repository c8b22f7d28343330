"""Files that cannot be used are refused with a remedy, and no other error is raised."""

import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from tests.unit.worker.media.sample_media import camera_data, prepared_within, sample_image, save
from worker.file_refusal import FileRefusedError
from worker.media.image_headers import MAX_PIXELS
from worker.media.images import prepare_image

LISTED = "JPEG, PNG, WEBP, GIF, HEIC, AVIF, TIFF, BMP"


def refused(source: Path, name: str, workdir: Path) -> FileRefusedError:
    """Return the refusal of an image."""
    with pytest.raises(FileRefusedError) as caught:
        prepare_image(source, name, workdir)
    error = caught.value
    assert name in error.message
    assert str(error) == error.message
    assert error.remedy
    return error


def test_an_empty_file_is_refused(given: Path, workdir: Path) -> None:
    given.touch()
    error = refused(given, "empty.jpg", workdir)
    assert error.code == "bad_image"
    assert "empty" in error.message
    assert LISTED in error.remedy


@pytest.mark.parametrize(
    "content",
    [
        b"Dear Sir or Madam,\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7\n",
        b"\x00",
        b"RIFF\x00\x00\x00\x00JUNK",
    ],
)
def test_a_file_that_is_not_an_image_is_refused_with_the_supported_formats(
    given: Path, workdir: Path, content: bytes
) -> None:
    given.write_bytes(content)
    error = refused(given, "letter.jpg", workdir)
    assert error.code == "unsupported_file"
    assert LISTED in error.remedy


def test_a_video_is_refused(given: Path, workdir: Path) -> None:
    given.write_bytes(b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp42")
    error = refused(given, "video.jpg", workdir)
    assert error.code == "unsupported_file"
    assert "MP4" in error.message


def test_a_folder_is_refused(workdir: Path) -> None:
    assert refused(workdir, "photos", workdir).code == "unsupported_file"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "HEIF", "AVIF", "TIFF", "BMP"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_truncated_image_is_refused(given: Path, workdir: Path, form: str, kept: float) -> None:
    save(Image.effect_noise((120, 120), 60).convert("RGB"), given, form)
    whole = given.read_bytes()
    given.write_bytes(whole[: int(len(whole) * kept)])
    error = refused(given, "half.jpg", workdir)
    assert error.code == "bad_image"
    assert LISTED in error.remedy


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "HEIF", "AVIF", "TIFF", "BMP"])
def test_damaged_bytes_give_an_image_or_a_refusal(given: Path, workdir: Path, form: str) -> None:
    """No content of a file raises another exception."""
    save(sample_image((40, 30)), given, form, **({} if form == "BMP" else {"exif": camera_data(6)}))
    whole = given.read_bytes()
    step = max(1, len(whole) // 150)
    outcomes = set()
    for at in range(0, len(whole), step):
        for damage in (b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x80\x00\x00\x01"):
            given.write_bytes(whole[:at] + damage + whole[at + 4 :])
            try:
                prepare_image(given, "damaged", workdir)
                outcomes.add("prepared")
            except FileRefusedError as error:
                outcomes.add(error.code)
    assert outcomes <= {"prepared", "bad_image", "unsupported_file"}
    assert "bad_image" in outcomes


@pytest.mark.parametrize(
    ("head", "size", "most"),
    [(b"\xff\xd8\xff", 501, 500), (b"", 201, 200), (b"RIFF\0\0\0\0WEBP", 201, 200)],
)
def test_a_file_over_the_size_limit_is_refused_before_it_is_decoded(
    given: Path, workdir: Path, head: bytes, size: int, most: int
) -> None:
    with given.open("wb") as file:
        file.write(head)
        file.truncate(size * 10**6)
    error = refused(given, "huge.jpg", workdir)
    assert error.code == "file_too_large"
    assert f"{size} MB" in error.message
    assert f"at most {most} MB" in error.message
    assert "ompress" in error.remedy
    assert "trim" in error.remedy


def bomb(width: int, height: int) -> bytes:
    """Make a black and white PNG of zeros: small on the disk, huge in memory."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    packer = zlib.compressobj(9)
    row = bytes(1 + width // 8)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )


def test_a_decompression_bomb_is_refused_before_it_is_decoded(given: Path, workdir: Path) -> None:
    """Run in a process with 500 MB; the image would need 900 MB."""
    given.write_bytes(bomb(30_000, 30_000))
    assert given.stat().st_size < 10**6
    printed = prepared_within(5 * 10**8, given, workdir)
    assert printed.startswith("bad_image given has 30000 by 30000 pixels")
    assert f"{MAX_PIXELS // 10**6} million" in printed
    assert "plain JPEG" in printed


@pytest.mark.parametrize("options", [{"progressive": True}, {}])
def test_a_huge_jpeg_that_is_decoded_as_a_whole_is_refused(
    given: Path, workdir: Path, options: dict[str, object]
) -> None:
    """Such as a progressive one, or one with separate color components."""
    save(sample_image((64, 48)), given, "JPEG", **options)
    whole = bytearray(given.read_bytes())
    frame = whole.index(b"\xff\xc2" if options else b"\xff\xc0")
    whole[frame + 5 : frame + 9] = struct.pack(">HH", 12_000, 12_000)
    scan = whole.index(b"\xff\xda")
    if not options:
        whole[scan + 4] = 1
    given.write_bytes(whole + bytes(12_000**2 // 256))
    error = refused(given, "huge.jpg", workdir)
    assert error.code == "bad_image"
    assert "12000 by 12000" in error.message
    assert "plain JPEG" in error.remedy


def tiled(side: int, tile: int) -> bytes:
    """Make a gray TIFF with one compressed tile of zeros that is larger than the image."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(tile)) for _ in range(tile)) + packer.flush()
    packed += bytes(len(packed) % 2)
    tags = {256: side, 257: side, 258: 8, 259: 8, 262: 1, 277: 1, 284: 1}
    tags |= {322: tile, 323: tile, 324: 8, 325: len(packed)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = b"II*\x00" + struct.pack("<I", 8 + len(packed))
    return head + packed + struct.pack("<H", len(tags)) + entries + bytes(4)


def test_a_small_image_in_a_huge_tile_is_refused(given: Path, workdir: Path) -> None:
    given.write_bytes(tiled(64, 64))
    assert prepare_image(given, "a.tif", workdir).width == 64
    given.write_bytes(tiled(64, 10_240))
    assert given.stat().st_size < 10**6
    error = refused(given, "tile.tif", workdir)
    assert error.code == "bad_image"
    assert "tiles" in error.message


@pytest.mark.parametrize("form", ["WEBP", "GIF", "BMP", "JPEG"])
def test_a_declared_size_over_the_limit_is_refused(given: Path, workdir: Path, form: str) -> None:
    """Only the header declares the size; the file does not hold that many pixels."""
    save(sample_image((40, 30)), given, form, **({"lossless": True} if form == "WEBP" else {}))
    whole = bytearray(given.read_bytes())
    if form == "GIF":
        whole[6:10] = struct.pack("<HH", 60_000, 60_000)
    elif form == "BMP":
        whole[18:26] = struct.pack("<ii", 60_000, 60_000)
    elif form == "WEBP":
        bits = int.from_bytes(whole[21:25], "little") | (16_383 << 14) | 16_383
        whole[21:25] = (bits & 0xFFFFFFFF).to_bytes(4, "little")
    else:
        frame = whole.index(b"\xff\xc0")
        whole[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    given.write_bytes(whole)
    assert refused(given, "claim", workdir).code == "bad_image"


def test_a_disk_error_is_not_a_refusal(given: Path, tmp_path: Path) -> None:
    save(sample_image(), given, "BMP")
    with pytest.raises(FileNotFoundError):
        prepare_image(given, "a.bmp", tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        prepare_image(tmp_path / "missing", "a.bmp", tmp_path)
