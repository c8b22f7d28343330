"""How far still and slowly moving clips differ in the measure that finds frozen clips.

Encodes the sample photographs, a flat picture with a small object and a faint gradient, each
without and with slow camera moves, and cases that are hard to tell, at several qualities and key
frame distances. For each it prints what the look at the clip finds, whether that is right, how
many frames it decoded, its CPU time, and how much adjacent samples and the two ends of the clip
differ, in gray levels of the block that differs most.
"""

import re
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from random import Random

from PIL import Image, ImageChops
from rich.table import Table

from tests.support.clips import open_encoder, to_frame
from worker.media.clip_frames import open_clip
from worker.media.clip_motion import motion, thumbnail
from worker.media.clip_quality import content_findings
from worker.media.clips import inspect_clip

OPTIONS = {
    "keep": (None, "a folder to keep the clips in (default: none)"),
    "only": ("", "only the cases whose name this pattern is found in"),
}
FRAMES = 250
SIZE = (640, 360)
ENCODINGS = tuple(product(("18", "30", "42"), ("25", "250")))
SAMPLES = 24

Paint = Callable[[int], Image.Image]


@dataclass(frozen=True, slots=True)
class Case:
    """A picture and what happens to it.

    Attributes:
        name: What is shown.
        paint: Makes the frame of a number.
        expected: What the look at the clip should find.
    """

    name: str
    paint: Paint
    expected: str = "-"


def run(options: Namespace, folder: Path) -> Iterator[Table | str]:
    """Measure, and yield what is printed."""
    folder = Path(options.keep or folder)
    folder.mkdir(parents=True, exist_ok=True)
    table = Table("case", "crf", "key frames", "found", "", "decoded", "ms", "adjacent", "ends")
    wrong = 0
    for case in cases():
        if not re.search(options.only, case.name):
            continue
        paths = encode(folder, case)
        for (crf, group), path in zip(ENCODINGS, paths, strict=True):
            began = time.process_time()
            look = inspect_clip(path, folder / "poster.jpg")
            spent = time.process_time() - began
            found = " ".join(finding.code for finding in content_findings(look)) or "-"
            wrong += found != case.expected
            mark = "" if found == case.expected else f"not {case.expected}"
            figures = (str(look.decoded), f"{spent * 1000:.0f}", *differences(path))
            table.add_row(case.name, crf, group, found, mark, *figures)
    yield table
    yield f"{wrong} of {table.row_count} wrong"


def cases() -> Iterator[Case]:
    """Yield everything that is measured."""
    for (name, picture), share in product(pictures(), (0.0, 0.01, 0.05)):
        camera = f"zoom by {share:.0%}" if share else "still"
        yield Case(f"{name}, {camera}", zoom(picture, share), "-" if share else "frozen")
    (_, photo), *_ = pictures()
    *_, (_, flat), _ = pictures()
    yield Case("grain over a photo", grain(photo), "frozen")
    yield Case("grain over a flat picture", grain(flat), "frozen")
    yield Case("watermark that moves over a photo", watermark(photo))
    yield Case("fade from black", lambda n: Image.blend(black(), photo, min(1, n / 50)))
    yield Case("first half frozen", lambda n: zoom(photo, 0.05)(max(0, n - FRAMES // 2)))
    yield Case("second half frozen", lambda n: zoom(photo, 0.05)(min(n, FRAMES // 2)))
    yield Case("moves at the end alone", lambda n: zoom(photo, 0.5)(max(0, n - FRAMES + 12)))
    yield Case("black", lambda _n: black(), "black frozen")


def pictures() -> Iterator[tuple[str, Image.Image]]:
    """Yield the pictures with their names."""
    samples = Path(__file__).resolve().parents[2] / "samples"
    for name in ("cat.jpg", "deep-field.jpg"):
        with Image.open(samples / name) as image:
            yield name, image.convert("RGB").resize(SIZE)
    flat = Image.new("RGB", SIZE, (245, 245, 243))
    flat.paste((90, 60, 40), (300, 165, 340, 195))
    yield "small object", flat
    yield "gradient", Image.linear_gradient("L").resize(SIZE).convert("RGB")


def black() -> Image.Image:
    """A black frame."""
    return Image.new("RGB", SIZE)


def zoom(picture: Image.Image, share: float) -> Paint:
    """Zoom into a picture by a share of its size."""

    def zoomed(number: int) -> Image.Image:
        if not share or not number:
            return picture
        margin = share * number / FRAMES / 2
        box = (SIZE[0] * margin, SIZE[1] * margin, SIZE[0] * (1 - margin), SIZE[1] * (1 - margin))
        return picture.resize(SIZE, Image.Resampling.BICUBIC, box)

    return zoomed


def grain(picture: Image.Image) -> Paint:
    """Lay the grain of a film over a picture, other grain on each frame."""
    margin = 64
    noise = Image.effect_noise((SIZE[0] + margin, SIZE[1] + margin), 16).convert("RGB")
    random = Random(1)

    def grained(_number: int) -> Image.Image:
        left, top = random.randrange(margin), random.randrange(margin)
        shifted = noise.crop((left, top, left + SIZE[0], top + SIZE[1]))
        return ImageChops.add(picture, shifted, offset=-128)

    return grained


def watermark(picture: Image.Image) -> Paint:
    """Let a small bright square cross a picture."""

    def marked(number: int) -> Image.Image:
        frame = picture.copy()
        left = number * (SIZE[0] - 30) // FRAMES
        frame.paste((255, 255, 255), (left, 300, left + 30, 315))
        return frame

    return marked


def encode(folder: Path, case: Case) -> list[Path]:
    """Encode a case in every way, each frame painted once; return the clips."""
    name = case.name.replace(" ", "-").replace(",", "").replace("%", "")
    paths = [folder / f"{name}-{crf}-{group}.mp4" for crf, group in ENCODINGS]
    with ExitStack() as stack:
        writers = [
            stack.enter_context(open_encoder(path, SIZE, preset="veryfast", crf=crf, g=group))
            for (crf, group), path in zip(ENCODINGS, paths, strict=True)
        ]
        for number in range(FRAMES):
            frame = to_frame(case.paint(number), "yuv420p")
            for write in writers:
                write(frame)
    return paths


def differences(path: Path) -> tuple[str, str]:
    """Return the largest difference of adjacent samples, and that of the start and the end."""
    with open_clip(path) as reader:
        frames = reader.frames_from(reader.packets[0].pts, FRAMES)
        samples = [thumbnail(frame) for frame in frames][:: FRAMES // SAMPLES // 2]
    near = max((motion(before, after) for before, after in pairwise(samples)), default=0.0)
    ends = len(samples) // 6 or 1
    far = max(motion(a, b) for a, b in product(samples[:ends], samples[-ends:]))
    return f"{near:.2f}", f"{far:.2f}"
