"""After the preload, no thread imports anything: gevent's import locks could stop it forever."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.worker.media.sample_media import camera_data, media_file, sample_image, save

PROGRAM = """
from gevent import monkey
monkey.patch_all()
import sys
from pathlib import Path
import worker.app
import tasks.stages.celery_tasks
from gevent._threading import get_thread_ident
from worker.egress.pinned_transport import resolve
from worker.media.attachments import check_attachment
from worker.media.image_headers import memory_needed
from worker.media.clips import inspect_clip
from worker.media.prepared_file import sha256_of
from worker.resources.offload import offload
from worker.resources.preload import preload_modules

preload_modules()
main, imported = get_thread_ident(), set()

def note_import(event, arguments):
    if event == "import" and get_thread_ident() != main:
        imported.add(arguments[0])

def attempt(function, *arguments):
    try:
        offload(function, *arguments)
    except Exception as error:
        print("refused:", error)

sys.addaudithook(note_import)
resolve("localhost", 80)
workdir = Path(sys.argv[2])
for number, file in enumerate(sorted(Path(sys.argv[1]).iterdir())):
    folder = workdir / str(number)
    folder.mkdir()
    attempt(memory_needed, file, file.name)
    attempt(check_attachment, file, file.name, folder)
    attempt(sha256_of, file)
    if file.suffix == ".mp4":
        attempt(inspect_clip, file, folder / "poster.jpg")
print("imported:", *sorted(imported))
"""


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """A folder with a file of every kind, and damaged ones."""
    folder = tmp_path / "samples"
    folder.mkdir()
    for path in _write(folder):
        # A damaged file makes Pillow look for other plugins that may know it.
        content = path.read_bytes()
        path.with_name(f"damaged-{path.name}").write_bytes(content[: len(content) // 2])
    return folder


def _write(folder: Path) -> Iterator[Path]:
    exif = camera_data(orientation=6)
    for form in ("JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"):
        yield save(sample_image(), folder / f"turned.{form.lower()}", form, exif=exif)
    for form in ("GIF", "BMP"):
        yield save(sample_image(), folder / f"plain.{form.lower()}", form)
    yield save(sample_image(mode="RGBA"), folder / "transparent.tiff", "TIFF")
    yield save(sample_image(mode="CMYK"), folder / "cmyk.jpeg", "JPEG")
    yield save(sample_image((9000, 16)), folder / "long.png", "PNG")
    yield media_file(folder / "clip.mp4", "mp4", "libx264", "aac")
    yield media_file(folder / "sound.mp3", "mp3", None, "mp3")
    yield media_file(folder / "sound.wav", "wav", None, "pcm_s16le")


def test_no_thread_of_the_pool_imports_anything(samples: Path, tmp_path: Path) -> None:
    workdir = tmp_path / "work"
    workdir.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(samples), str(workdir)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    *refused, imported = done.stdout.splitlines()
    assert imported == "imported:"
    assert refused, "the damaged files are refused"
