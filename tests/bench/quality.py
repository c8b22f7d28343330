"""How far still and slowly moving clips lie apart: ``python -m tests.bench.quality``.

Encodes the sample photographs, a flat picture with a small thing in it and a faint gradient,
each standing still and in slow camera moves, at several qualities and distances of key frames,
and prints for each the most motion that a few samples from all over the clip show, in grey
levels of the block that differs most. The threshold in `worker.clips` lies between.
"""

import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.table import Table

from tests.unit.test_clips import clip
from worker import clips

FRAMES = 250
SIZE = (1280, 720)


def main() -> None:
    """Measure and print."""
    table = Table("picture", "camera", "crf", "key frames", "motion", "found", "ms")
    with tempfile.TemporaryDirectory(prefix="reelqueue-bench-") as folder:
        path = Path(folder) / "clip.mp4"
        for (name, picture), share in product(pictures(), (0.0, 0.01, 0.05)):
            for crf, group in product(("18", "30", "42"), ("25", "250")):
                film(path, picture, share, crf=crf, g=group)
                began = time.perf_counter()
                found = " ".join(finding.code for finding in clips.inspect(path))
                took = time.perf_counter() - began
                camera = f"zoom by {share:.0%}" if share else "still"
                figures = (f"{most_motion(path):.2f}", found or "-", f"{took * 1000:.0f}")
                table.add_row(name, camera, crf, group, *figures)
    console = Console(width=100)
    console.print(table)
    console.print(f"threshold: {clips._STILL_BLOCK}")


def pictures() -> Iterator[tuple[str, Image.Image]]:
    """What is filmed."""
    samples = Path(__file__).resolve().parents[2] / "samples"
    for name in ("cat.jpg", "deep-field.jpg"):
        with Image.open(samples / name) as image:
            yield name, image.convert("RGB").resize(SIZE)
    flat = Image.new("RGB", SIZE, (245, 245, 243))
    flat.paste((90, 60, 40), (600, 330, 680, 390))
    yield "small thing", flat
    yield "gradient", Image.linear_gradient("L").resize(SIZE).convert("RGB")


def film(path: Path, picture: Image.Image, share: float, **options: str) -> None:
    """A clip that zooms into a picture by a share of its size."""

    def zoomed(number: int) -> Image.Image:
        if not share:
            return picture
        margin = share * number / FRAMES / 2
        box = (SIZE[0] * margin, SIZE[1] * margin, SIZE[0] * (1 - margin), SIZE[1] * (1 - margin))
        return picture.resize(SIZE, Image.Resampling.BICUBIC, box)

    clip(path, zoomed, FRAMES, preset="veryfast", **options)


def most_motion(path: Path) -> float:
    """The most that a sample from all over a clip differs from the first one."""
    with clips._opened(path) as (container, stream):
        samples = clips._throughout(container, stream, Fraction(clips._length(container, stream)))
    return max(clips.motion(samples[0], later) for later in samples[1:])


if __name__ == "__main__":
    main()
