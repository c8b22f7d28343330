"""What the look at a clip costs, compared with the least that any look must do.

The least is: open the clip, read all its packets, decode one frame, scale it and write it as a
poster, with PyAV in one thread. Encodes clips with one key frame, a key frame a second, B frames
and open groups of pictures, flat and busy, in H.264 and HEVC. Both looks run in turn in one
process; the ratio is that of their user CPU times. It also prints the frames that were decoded,
which must not grow with the length of a clip.
"""

import resource
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from PIL import Image, ImageFilter
from rich.table import Table

from tests.bench.alternatives.calls import least_look
from tests.support.clips import open_encoder
from worker.media.clips import inspect_clip

OPTIONS = {
    "seconds": (10, "length of the clips"),
    "rounds": (9, "looks of each kind at each clip"),
    "keep": (None, "a folder to keep the clips in, and to use them from (default: none)"),
}
SIZE = (1080, 1920)
LIMIT = 1.5
PIXELS_A_FRAME = 2
HEVC = {"codec": "libx265", "preset": "ultrafast"}
QUIET = "log-level=none:pools=1"
ENCODINGS = {
    "one key frame": {"g": "10000", "bf": "0", "sc_threshold": "0"},
    "one key frame, B frames": {"g": "10000", "bf": "3", "sc_threshold": "0"},
    "a key frame a second": {"g": "25", "bf": "0", "sc_threshold": "0"},
    "a key frame a second, B frames": {"g": "25", "bf": "3", "sc_threshold": "0"},
    "open groups, B frames": {"g": "50", "bf": "3", "x264-params": "open-gop=1"},
    "HEVC, one key frame": {**HEVC, "x265-params": f"{QUIET}:keyint=10000"},
    "HEVC, open groups": {**HEVC, "x265-params": f"{QUIET}:keyint=50:open-gop=1"},
}


@dataclass(frozen=True, slots=True)
class Cost:
    """The user CPU milliseconds of both looks at a clip, and the frames that ours decoded."""

    least: float
    ours: float
    decoded: int
    findings: str


def run(options: Namespace, folder: Path) -> Iterator[Table | str]:
    """Measure, and yield what is printed."""
    folder = Path(options.keep or folder)
    folder.mkdir(parents=True, exist_ok=True)
    table = Table("picture", "clip", "KB", "least ms", "ours ms", "ratio", "decoded", "found")
    over = 0
    for name, picture in pictures(options.seconds).items():
        paths = encode(folder, name, picture, options.seconds)
        for encoding, path in zip(ENCODINGS, paths, strict=True):
            cost = measure(path, folder / "poster.jpg", options.rounds)
            ratio = cost.ours / cost.least
            over += ratio > LIMIT
            figures = (f"{cost.least:.1f}", f"{cost.ours:.1f}", f"{ratio:.2f}")
            size = f"{path.stat().st_size / 1000:.0f}"
            table.add_row(name, encoding, size, *figures, str(cost.decoded), cost.findings)
    yield table
    yield f"{over} of {table.row_count} over {LIMIT} times the least look"


def pictures(seconds: int) -> dict[str, Image.Image]:
    """Return the pictures that the camera moves over, by their names."""
    travel = seconds * 25 * PIXELS_A_FRAME
    size = (SIZE[0] + travel, SIZE[1])
    flat = Image.new("RGB", size, (200, 210, 240))
    for number in range(0, size[0], 400):
        flat.paste((90, 60 + number % 150, 40), (number, 330, number + 280, 590))
    samples = Path(__file__).resolve().parents[2] / "samples"
    with Image.open(samples / "deep-field.jpg") as image:
        photo = image.convert("RGB").resize(size)
    noise = Image.effect_noise(size, 60).filter(ImageFilter.GaussianBlur(1)).convert("RGB")
    return {"flat": flat, "busy": Image.blend(photo, noise, 0.4)}


def encode(folder: Path, name: str, picture: Image.Image, seconds: int) -> list[Path]:
    """Encode a slow pan over a picture in every way; clips that are already there are used."""
    paths = []
    for encoding, given in ENCODINGS.items():
        path = folder / f"{name}-{encoding.replace(',', '').replace(' ', '-')}-{seconds}.mp4"
        paths.append(path)
        if path.exists():
            continue
        options = {"preset": "veryfast", "b": "3000000", **given}
        with open_encoder(path, SIZE, **options) as write:
            for number in range(seconds * 25):
                left = number * PIXELS_A_FRAME
                write(picture.crop((left, 0, left + SIZE[0], SIZE[1])))
    return paths


def measure(path: Path, poster: Path, rounds: int) -> Cost:
    """Run both looks in turn; return the medians of their costs."""
    least: list[float] = []
    ours: list[float] = []
    for _ in range(rounds):
        least.append(user_ms(lambda: least_look(path, poster)))
        ours.append(user_ms(lambda: inspect_clip(path, poster)))
    look = inspect_clip(path, poster)
    found = " ".join(("black",) * look.is_black + ("frozen",) * look.is_frozen) or "-"
    return Cost(median(least), median(ours), look.decoded, found)


def user_ms(function: Callable[[], object]) -> float:
    """Return the user CPU milliseconds of a call, of all threads of this process."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    function()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_utime - before) * 1000
