"""How far still and slowly moving clips differ in the measure that finds frozen clips.

Encodes the sample photographs, a flat picture with a small object and a faint gradient, each
without and with slow camera moves, at several qualities and key frame distances. For each it
prints how much adjacent samples and the two ends of the clip differ, in gray levels of the block
that differs most, what the check finds, and how long it took.
"""

import time
from argparse import Namespace
from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path

from PIL import Image
from rich.table import Table

from tests.support.options import Options
from tests.unit.worker.media.test_clips import clip
from worker.media.clip_frames import open_clip
from worker.media.clip_quality import dense_samples, inspect, motion

OPTIONS: Options = {}
FRAMES = 250
SIZE = (1280, 720)


def run(_options: Namespace, folder: Path) -> Iterator[Table]:
    """Measure, and yield what is printed."""
    table = Table("picture", "camera", "crf", "key frames", "adjacent", "ends", "found", "ms")
    path = folder / "clip.mp4"
    for (name, picture), share in product(pictures(), (0.0, 0.01, 0.05)):
        for crf, group in product(("18", "30", "42"), ("25", "250")):
            encode(path, picture, share, crf=crf, g=group)
            began = time.perf_counter()
            found = " ".join(finding.code for finding in inspect(path))
            seconds = time.perf_counter() - began
            camera = f"zoom by {share:.0%}" if share else "still"
            figures = (*differences(path), found or "-", f"{seconds * 1000:.0f}")
            table.add_row(name, camera, crf, group, *figures)
    yield table


def pictures() -> Iterator[tuple[str, Image.Image]]:
    """Yield the pictures with their names."""
    samples = Path(__file__).resolve().parents[2] / "samples"
    for name in ("cat.jpg", "deep-field.jpg"):
        with Image.open(samples / name) as image:
            yield name, image.convert("RGB").resize(SIZE)
    flat = Image.new("RGB", SIZE, (245, 245, 243))
    flat.paste((90, 60, 40), (600, 330, 680, 390))
    yield "small object", flat
    yield "gradient", Image.linear_gradient("L").resize(SIZE).convert("RGB")


def encode(path: Path, picture: Image.Image, share: float, **options: str) -> None:
    """Encode a clip that zooms into a picture by a share of its size."""

    def zoomed(number: int) -> Image.Image:
        if not share:
            return picture
        margin = share * number / FRAMES / 2
        box = (SIZE[0] * margin, SIZE[1] * margin, SIZE[0] * (1 - margin), SIZE[1] * (1 - margin))
        return picture.resize(SIZE, Image.Resampling.BICUBIC, box)

    clip(path, zoomed, FRAMES, preset="veryfast", **options)


def differences(path: Path) -> tuple[str, str]:
    """Return the largest difference of adjacent samples, and that of the start and the end."""
    with open_clip(path) as reader:
        samples = dense_samples(reader, reader.length())
    near = max(motion(before, after) for before, after in pairwise(samples))
    far = max(motion(a, b) for a, b in product(samples[:4], samples[-4:]))
    return f"{near:.2f}", f"{far:.2f}"
