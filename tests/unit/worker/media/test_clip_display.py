"""Size, length and poster are those that a player shows."""

import struct
from pathlib import Path

import pytest
from PIL import Image

from tests.unit.worker.media.clip_samples import BLUE, RED, clip, probe
from worker.media.clip_quality import property_findings
from worker.media.clips import inspect_clip


def corner(_number: int) -> Image.Image:
    """A blue image whose upper left quarter is red."""
    image = Image.new("RGB", (320, 180), BLUE)
    image.paste(RED, (0, 0, 160, 90))
    return image


def box_at(content: bytes | bytearray, *names: bytes) -> int:
    """Return where the content of the first box of the last of these names starts."""
    at = 0
    for name in names:
        at = content.index(name, at) + len(name)
    return at


@pytest.mark.parametrize(
    ("matrix", "size", "red"),
    [
        ((0, 0, 0, 0), (320, 180), (0, 0)),
        ((0, 1, -1, 0), (180, 320), (1, 0)),
        ((-1, 0, 0, -1), (320, 180), (1, 1)),
        ((0, -1, 1, 0), (180, 320), (0, 1)),
        ((-1, 0, 0, 1), (320, 180), (1, 0)),
        ((1, 0, 0, -1), (320, 180), (0, 1)),
        ((0, 1, 1, 0), (180, 320), (0, 0)),
        ((0, -1, -1, 0), (180, 320), (1, 1)),
    ],
)
def test_a_clip_is_turned_and_mirrored_as_its_display_matrix_says(
    path: Path,
    tmp_path: Path,
    matrix: tuple[int, int, int, int],
    size: tuple[int, int],
    red: tuple[int, int],
) -> None:
    """``red`` is the red quarter of the poster: 0 or 1 from the left, and 0 or 1 from the top."""
    content = bytearray(clip(path, corner, 5).read_bytes())
    a, b, c, d = (value << 16 for value in matrix)
    struct.pack_into(">9i", content, box_at(content, b"tkhd") + 40, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    found = probe(path)
    assert (found.width, found.height) == size
    assert property_findings(found, aspect="9:16" if size[0] < size[1] else "16:9") == ()
    inspect_clip(path, tmp_path / "poster.jpg")
    with Image.open(tmp_path / "poster.jpg") as image:
        assert image.size == size
        quarters = image.resize((2, 2), Image.Resampling.BOX).convert("RGB")
    pixels = {(x, y): quarters.getpixel((x, y)) for x in (0, 1) for y in (0, 1)}
    assert max(pixels, key=lambda place: pixels[place][0]) == red  # type: ignore[index]


@pytest.mark.parametrize(
    ("pixel", "size"), [((4, 3), (427, 180)), ((1, 2), (320, 360)), ((1000, 1), (320, 180))]
)
def test_pixels_that_are_not_square_are_stretched(
    path: Path, tmp_path: Path, pixel: tuple[int, int], size: tuple[int, int]
) -> None:
    found = probe(clip(path, frames=5, aspect="{}:{}".format(*pixel)))
    assert (found.width, found.height) == size
    inspect_clip(path, tmp_path / "poster.jpg")
    with Image.open(tmp_path / "poster.jpg") as image:
        assert image.size == size


@pytest.mark.parametrize(("start", "seconds"), [(2.5, 1), (0, 2), (1, 3)])
def test_frames_that_an_edit_list_leaves_out_do_not_count(
    path: Path, start: float, seconds: int
) -> None:
    """The clip has one key frame, so a player decodes from its start to show any part."""
    content = bytearray(clip(path, g="1000").read_bytes())
    movie_scale = struct.unpack_from(">I", content, box_at(content, b"mvhd") + 12)[0]
    media_scale = struct.unpack_from(">I", content, box_at(content, b"mdhd") + 12)[0]
    entry = box_at(content, b"elst") + 8
    offset = struct.unpack_from(">i", content, entry + 4)[0] + int(start * media_scale)
    struct.pack_into(">Ii", content, entry, seconds * movie_scale, offset)
    path.write_bytes(content)
    found = probe(path)
    assert found.seconds == pytest.approx(seconds, abs=0.1)
    assert property_findings(found, seconds=seconds) == ()
