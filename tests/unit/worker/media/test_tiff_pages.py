"""TIFF files: camera raw, thumbnails, and gray of more than eight bits."""

import array
import io
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from PIL import Image

from tests.unit.worker.media.sample_media import sample_image
from worker.file_refusal import FileRefusedError
from worker.media.image_headers import check_image_shape
from worker.media.images import measure_look, prepare_image

SIZE = (64, 48)
Tags = Mapping[int, tuple[int, Sequence[int | float]]]
SHORT, LONG, BYTE = 3, 4, 1
WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP, SAMPLES, ROWS, COUNT, MAX_VALUE, SUB_IFDS = 273, 277, 278, 279, 281, 330
SUBFILE, FORMAT, DNG, NO_DATA = 254, 339, 50706, 42113


def tiff(pixels: bytes, tags: Tags, *, head: bytes = b"") -> bytes:
    """Build a TIFF of one page and one strip."""
    defaults: Tags = {
        WIDTH: (LONG, [SIZE[0]]),
        LENGTH: (LONG, [SIZE[1]]),
        BITS: (SHORT, [16]),
        COMPRESSION: (SHORT, [1]),
        PHOTOMETRIC: (SHORT, [1]),
        STRIP: (LONG, [0]),
        SAMPLES: (SHORT, [1]),
        ROWS: (LONG, [SIZE[1]]),
        COUNT: (LONG, [len(pixels)]),
    }
    entries = sorted({**defaults, **tags}.items())
    at = 8 + len(head)
    extra_at = at + 2 + 12 * len(entries) + 4
    directory, extra = struct.pack("<H", len(entries)), b""
    sizes = {BYTE: "B", 2: "B", SHORT: "H", LONG: "I"}
    packed = {
        tag: b"".join(struct.pack(f"<{sizes[kind]}", value) for value in values)
        for tag, (kind, values) in entries
    }
    strip_at = extra_at + sum(len(raw) for raw in packed.values() if len(raw) > 4)
    packed[STRIP] = struct.pack("<I", strip_at)
    for tag, (kind, values) in entries:
        raw = packed[tag]
        if len(raw) > 4:
            place, extra = struct.pack("<I", extra_at + len(extra)), extra + raw
        else:
            place = raw.ljust(4, b"\0")
        directory += struct.pack("<HHI", tag, kind, len(values)) + place
    return b"II*\0" + struct.pack("<I", at) + head + directory + b"\0" * 4 + extra + pixels


def ramp(code: str, step: float) -> bytes:
    """Values that grow from left to right."""
    values = [x * step if code == "f" else int(x * step) for x in range(SIZE[0])]
    return struct.pack(f"<{SIZE[0]}{code}", *values) * SIZE[1]


def twelve_bits() -> bytes:
    """Two values of twelve bits in three bytes."""
    values = [x * 64 for _ in range(SIZE[1]) for x in range(SIZE[0])]
    return b"".join(
        bytes((a >> 4, (a & 15) << 4 | b >> 8, b & 255))
        for a, b in zip(values[::2], values[1::2], strict=True)
    )


def left_and_right(path: Path) -> tuple[float, float]:
    with Image.open(path) as image:
        gray = image.convert("L")
        left, right = gray.getpixel((1, 24)), gray.getpixel((62, 24))
    return float(str(left)), float(str(right))


def floats_with(value: float, count: int = 1) -> bytes:
    values = array.array("f", ramp("f", 1 / 64))
    for n in range(count):
        values[SIZE[0] * n + 9] = value
    return values.tobytes()


FLOAT: Tags = {BITS: (SHORT, [32]), FORMAT: (SHORT, [3])}


@pytest.mark.parametrize(
    ("content", "dark_to_light"),
    [
        (tiff(ramp("H", 1024), {}), True),
        (tiff(twelve_bits(), {BITS: (SHORT, [12])}), True),
        (tiff(ramp("H", 64), {MAX_VALUE: (SHORT, [4095])}), True),
        (tiff(ramp("H", 64), {}), True),
        (tiff(ramp("H", 1024), {PHOTOMETRIC: (SHORT, [0])}), False),
        (tiff(ramp("f", 1 / 64), FLOAT), True),
        (tiff(ramp("f", 1 / 64), {**FLOAT, PHOTOMETRIC: (SHORT, [0])}), False),
        (tiff(floats_with(-3.4e38), FLOAT), True),
        (tiff(floats_with(float("-inf")), FLOAT), True),
        (tiff(floats_with(float("nan")), FLOAT), True),
        (tiff(floats_with(-9999.0, count=20), FLOAT), True),
        (tiff(floats_with(1e20, count=20), FLOAT), True),
        (tiff(floats_with(2.5, count=20), {**FLOAT, NO_DATA: (2, list(b"2.5\0"))}), True),
    ],
    ids=range(13),
)
def test_deep_gray_is_shown_from_dark_to_light(
    given: Path, workdir: Path, content: bytes, dark_to_light: bool
) -> None:
    given.write_bytes(content)
    found = prepare_image(given, "scan.tif", workdir)
    assert "reduced to eight bits a pixel" in found.changes
    dark, light = sorted(ends := left_and_right(found.path))
    assert dark < 12
    assert light > 243
    assert (ends == (dark, light)) is dark_to_light
    assert measure_look(given, "scan.tif").contrast > 200


RAW_FILES = {
    "DNG": tiff(
        b"\0" * 9216, {BITS: (SHORT, [8, 8, 8]), SAMPLES: (SHORT, [3]), DNG: (BYTE, [1, 4, 0, 0])}
    ),
    "CR2": tiff(ramp("H", 9), {}, head=b"CR\x02\x00" + b"\0" * 4),
    "sensor data": tiff(ramp("H", 9), {PHOTOMETRIC: (SHORT, [32803])}),
}


def nef() -> bytes:
    """A thumbnail whose sub-image holds the data of the sensor."""
    sub = tiff(b"", {PHOTOMETRIC: (SHORT, [32803])})[8:]
    return tiff(ramp("H", 9), {SUBFILE: (LONG, [1]), SUB_IFDS: (LONG, [8])}, head=sub)


@pytest.mark.parametrize("content", [*RAW_FILES.values(), nef()], ids=[*RAW_FILES, "NEF"])
def test_a_camera_raw_file_is_refused_before_anything_is_paid(
    given: Path, workdir: Path, content: bytes
) -> None:
    """Its first page is a small preview."""
    given.write_bytes(content)
    for refuse in (
        lambda: check_image_shape(given, "DSC_0001"),
        lambda: prepare_image(given, "DSC_0001", workdir),
    ):
        with pytest.raises(FileRefusedError) as caught:
            refuse()
        assert caught.value.code == "unsupported_file"
        assert "camera raw" in caught.value.message
        assert "JPEG" in caught.value.remedy


def pages(*images: Image.Image, **first: object) -> bytes:
    sink = io.BytesIO()
    images[0].save(sink, "TIFF", save_all=True, append_images=images[1:], **first)
    return sink.getvalue()


THUMBNAIL, PICTURE = sample_image((80, 60)), sample_image((400, 300))


@pytest.mark.parametrize(
    ("content", "size", "kept"),
    [
        (pages(THUMBNAIL, PICTURE, tiffinfo={SUBFILE: 1}), (400, 300), "the largest"),
        (pages(THUMBNAIL, PICTURE), (400, 300), "the largest"),
        (pages(PICTURE, THUMBNAIL), (400, 300), "the first"),
        (pages(sample_image((300, 200)), PICTURE), (300, 200), "the first"),
    ],
    ids=["marked thumbnail", "small first page", "small last page", "two pages"],
)
def test_the_page_that_is_the_picture_is_kept(
    given: Path, workdir: Path, content: bytes, size: tuple[int, int], kept: str
) -> None:
    given.write_bytes(content)
    found = prepare_image(given, "a.tif", workdir)
    assert (found.width, found.height) == size
    assert f"only {kept} of 2 images kept" in found.changes
