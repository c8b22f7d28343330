"""How much memory it takes to prepare many pictures at the same time.

Each row is measured in a process of its own, patched by gevent as a worker is. It prepares phone
pictures of 24 million pixels that must be rotated, all submitted at the same time. Linux only.
"""

import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from rich.table import Table

from tests.unit.worker.media.sample_media import camera_data
from worker.media.image_headers import MAX_IMAGE_MEMORY

OPTIONS = {"count": (200, "pictures that are prepared at the same time")}
PROGRAM = """
from gevent import monkey
monkey.patch_all()
import re, sys
from functools import partial
from pathlib import Path
import gevent
from PIL import Image
from tasks.stages.inputs import prepare_within_memory
from worker.media.image_headers import memory_needed
from worker.media.images import prepare_image
from worker.resources.freed_memory import return_freed_memory
from worker.resources.memory_budget import MemoryBudget
from worker.resources.offload import offload
from worker.resources.preload import preload_modules

def peak():
    # Not getrusage, whose value goes on from that of the parent process.
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024

given, workdir = Path(sys.argv[1]), Path(sys.argv[2])
count, size, together = map(int, sys.argv[3:])
# The threads of the pool are not patched.
sleep, write, arrived = monkey.get_original("time", "sleep"), Image.Image.save, []

def save(*args, **options):
    arrived.append(True)
    while len(arrived) < together:
        sleep(0.001)
    write(*args, **options)

Image.Image.save = save
return_freed_memory()
# As a worker does: threads that import the same module can wait for each other forever.
preload_modules()
memory, before = MemoryBudget(size), peak()
def prepare(number):
    place = workdir / str(number)
    place.mkdir()
    needed = offload(memory_needed, given, "a.jpg")
    prepared = partial(prepare_image, given, "a.jpg", place)
    prepare_within_memory(memory, needed, prepared).path.unlink()
gevent.joinall([gevent.spawn(prepare, number) for number in range(count)], raise_error=True)
print(peak() - before)
"""


def run(options: Namespace, folder: Path) -> Iterator[Table]:
    """Measure, and yield what is printed."""
    table = Table("pictures", "bound, MB", "peak, MB", "times that of one")
    given = phone_picture(folder / "given", 6000, 4000)
    one = 0
    for count, bound in (
        (1, MAX_IMAGE_MEMORY),
        (options.count, MAX_IMAGE_MEMORY),
        (options.count, 0),
    ):
        peak = peak_of(given, count, bound or 10**12)
        one = one or peak
        shown = f"{bound // 10**6:,}" if bound else "none"
        table.add_row(f"{count:,}", shown, f"{peak:,}", f"{peak / one:.1f}")
    yield table


def peak_of(given: Path, count: int, memory: int, together: int = 1) -> int:
    """Return by how many MB a process grows at most while it prepares pictures.

    Args:
        given: The picture.
        count: How often it is prepared.
        memory: The budget in bytes.
        together: How many are held in memory before the first prepared one is written.
    """
    with tempfile.TemporaryDirectory(prefix="reelqueue-bench-") as folder:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(given), folder]
            + [str(number) for number in (count, memory, together)],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def phone_picture(path: Path, width: int, height: int) -> Path:
    """Write a picture whose Exif orientation says that it lies on its side."""
    picture = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    picture.save(path, "JPEG", exif=camera_data(6))
    return path
