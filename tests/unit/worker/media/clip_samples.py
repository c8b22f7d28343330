"""Clips that are encoded for tests, and their inspection."""

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from tests.support.clips import open_encoder
from worker.media.clips import Clip, ClipInspection, inspect_clip

Paint = Callable[[int], Image.Image]
QUIET = "log-level=none:pools=1"
RED, BLUE = (220, 30, 30), (30, 30, 220)


def moving(number: int) -> Image.Image:
    """A bright bar that moves slowly to the right."""
    image = Image.new("RGB", (320, 180), (40, 90, 40))
    image.paste((240, 240, 240), (number, 0, number + 60, 180))
    return image


def still(_number: int) -> Image.Image:
    """The same image every time."""
    return moving(40)


def black(_number: int) -> Image.Image:
    """A black image."""
    return Image.new("RGB", (320, 180))


def clip(path: Path, paint: Paint = moving, frames: int = 100, **options: str) -> Path:
    """Write a clip of this many frames at 25 frames a second; options as for `open_encoder`."""
    first = paint(0)
    with open_encoder(path, first.size, **options) as write:
        write(first)
        for number in range(1, frames):
            write(paint(number))
    return path


def probe(path: Path) -> Clip:
    """Return the properties of a clip."""
    return inspected(path).clip


def inspected(path: Path) -> ClipInspection:
    """Inspect a clip, and write its poster beside it."""
    return inspect_clip(path, path.with_suffix(".jpg"))
