"""The clips that the backend serves: each is encoded once, and kept among temporary files."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageFilter

from tests.support.clips import RATE, open_encoder

SECONDS: Final = 10
"""The length of each clip."""
SIZE: Final = (1080, 1920)
SMALL: Final = (54, 96)
STEP: Final = 2
"""How many pixels the camera moves in a frame."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A clip's size, the picture that the camera moves over, and options of the encoder."""

    size: tuple[int, int]
    picture: Callable[[tuple[int, int]], Image.Image]
    encoding: Mapping[str, str]


def flat(size: tuple[int, int]) -> Image.Image:
    """Make a picture of few colors."""
    picture = Image.new("RGB", size, (200, 210, 240))
    width, height = size
    every = max(8, width // 10)
    for left in range(0, width, every):
        picture.paste((150, 60, 40), (left, height // 6, left + every * 2 // 3, height // 3))
    return picture


def busy(size: tuple[int, int]) -> Image.Image:
    """Make a picture full of detail."""
    noise = Image.effect_noise(size, 60).filter(ImageFilter.GaussianBlur(1)).convert("RGB")
    return Image.blend(flat(size), noise, 0.5)


KINDS: Final[Mapping[str, Kind]] = {
    "flat": Kind(SIZE, flat, {"g": "250", "bf": "0"}),
    "busy": Kind(SIZE, busy, {"g": "250", "bf": "3", "b": "3000000"}),
    "small": Kind(SMALL, flat, {"g": "250", "bf": "0"}),
}


def clip(name: str) -> Path:
    """Return the file of a kind of clip; encode it if it is not there."""
    folder = Path(tempfile.gettempdir()) / "reelqueue-bench-clips"
    folder.mkdir(exist_ok=True)
    kind = KINDS[name]
    path = folder / f"{name}-{kind.size[0]}x{kind.size[1]}-{SECONDS}s.mp4"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=folder) as place:
            draft = Path(place) / path.name
            with open_encoder(draft, kind.size, preset="veryfast", **kind.encoding) as write:
                for frame in frames(kind):
                    write(frame)
            draft.replace(path)
    return path


def frames(kind: Kind) -> Iterator[Image.Image]:
    """Yield the frames of a slow pan over the picture."""
    width, height = kind.size
    number = SECONDS * RATE
    picture = kind.picture((width + number * STEP, height))
    for left in range(0, number * STEP, STEP):
        yield picture.crop((left, 0, left + width, height))
