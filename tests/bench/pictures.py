"""Memory of pictures that are prepared at once: ``python -m tests.bench.pictures``.

Each line is a process of its own, patched by gevent as a worker is: it prepares so many phone
pictures of 24 million pixels that must be turned, all handed in at once. Linux only.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.table import Table

from tests.unit.worker.media.sample_media import camera_data
from worker.media import MAX_IMAGE_MEMORY

PROGRAM = """
from gevent import monkey
monkey.patch_all()
import re, sys
from pathlib import Path
import gevent
from tasks.stages.inputs import run_within_memory
from worker.media import prepare_image
from worker.resources.memory_budget import MemoryBudget

def peak():
    # Not getrusage: what that tells goes on from the process that started this one.
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024

given, workdir, count, size = Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])
memory, before = MemoryBudget(size), peak()
def prepare(number):
    place = workdir / str(number)
    place.mkdir()
    run_within_memory(memory, prepare_image, given, "a.jpg", place).path.unlink()
gevent.joinall([gevent.spawn(prepare, number) for number in range(count)], raise_error=True)
print(peak() - before)
"""


def peak_of(given: Path, count: int, memory: int) -> int:
    """MB that a process grows by at most while it prepares so many pictures at once."""
    with tempfile.TemporaryDirectory(prefix="reelqueue-bench-") as folder:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(given), folder, str(count), str(memory)],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def phone_picture(path: Path, width: int, height: int) -> Path:
    """A picture that lies on its side."""
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(
        path, "JPEG", exif=camera_data(6)
    )
    return path


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    count: int = parser.parse_args().count
    table = Table("at once", "bound, MB", "peak, MB", "of one")
    with tempfile.TemporaryDirectory(prefix="reelqueue-bench-") as folder:
        given = phone_picture(Path(folder) / "given", 6000, 4000)
        one = 0
        for at_once, memory in ((1, MAX_IMAGE_MEMORY), (count, MAX_IMAGE_MEMORY), (count, 10**12)):
            peak = peak_of(given, at_once, memory)
            one = one or peak
            bound = f"{memory // 10**6:,}" if memory == MAX_IMAGE_MEMORY else "none"
            table.add_row(f"{at_once:,}", bound, f"{peak:,}", f"{peak / one:.1f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
