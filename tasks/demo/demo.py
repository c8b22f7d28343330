"""A demo of the whole service on one machine: ``make run``, or ``python -m tasks.demo``.

It starts Valkey, a worker and a stand-in of the video API, submits photos with the command line,
shows their progress, and stops everything at the end. The real API can be used instead.
"""

import argparse
import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from tasks.demo.process_group import ChildEndedError, NotReadyError, ProcessGroup, process_group
from tasks.demo.samples import ROOT, named_images, request_for, sample_images
from tasks.demo.services import DemoError, DemoPaths, start_stand_in, start_valkey, start_worker
from tasks.schema.addresses import is_url

REELQUEUE: Final = (sys.executable, "-P", "-m", "tasks.cli")

SETTING_PREFIXES: Final = ("NEMO_", "REELQUEUE_", "SKILL_", "REDIS_URL", "BROKER_URL", "SENTRY_DSN")
"""Prefixes of the environment variables that the local demo does not pass on."""

PAID_STREAM_GRACE_SECONDS: Final = 16 * 60.0
"""Time that a worker has to read the streams of paid messages to their end, before it is killed."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo, and return 0 only if every photo became a clip."""
    parser = argparse.ArgumentParser(prog="python -m tasks.demo", description=__doc__)
    parser.add_argument(
        "--backend",
        choices=("local", "cloud"),
        default="local",
        help="the local stand-in, or the real video API (default: %(default)s)",
    )
    parser.add_argument(
        "--folder", type=Path, help="folder of all files (default: var/demo or var/cloud)"
    )
    parser.add_argument(
        "--images",
        dest="named",
        default="",
        metavar="TEXT",
        help="the images in one text, separated by spaces; file names may contain spaces",
    )
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGE",
        help="paths or https addresses (default with the stand-in: the samples)",
    )
    arguments = parser.parse_args(argv)
    console = Console(highlight=False, soft_wrap=True)
    cloud = arguments.backend == "cloud"
    folder = arguments.folder or ROOT / "var" / ("cloud" if cloud else "demo")
    run = _run_with_cloud if cloud else _run_locally
    try:
        images = [*arguments.images, *named_images(arguments.named)]
        return run(console, DemoPaths(folder.absolute()), images)
    except (ChildEndedError, NotReadyError, DemoError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted. All processes have ended.")
        return 130
    finally:
        # The live view hides the cursor, and may have been killed before it showed it again.
        console.show_cursor()


def _run_locally(console: Console, paths: DemoPaths, images: Sequence[str]) -> int:
    """Run with the stand-in: new data, free credits and short intervals."""
    rows = [_manifest_row(image) for image in images or sample_images()]
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(SETTING_PREFIXES)
    }
    with _exclusive(paths):
        shutil.rmtree(paths.work, ignore_errors=True)
        paths.work.mkdir()
        # The working directory is not the checkout, so that its .env file is not read.
        with process_group(paths.work, paths.work, {**env, "PYTHONPATH": str(ROOT)}) as group:
            console.print(f"Valkey     {start_valkey(group, paths)}")
            console.print(f"Stand-in   {start_stand_in(group, paths)}")
            log = start_worker(group, paths, grace=5)
            console.print(f"Worker     log: {_display_path(log)}")
            # Each run has its own batch: in the same batch, the same rows make no new clips.
            name = f"demo-{time.strftime('%Y%m%d-%H%M%S')}"
            return _make_clips(console, group, paths, name, rows)


def _run_with_cloud(console: Console, paths: DemoPaths, images: Sequence[str]) -> int:
    """Run with the real API: the settings of the environment, and data that is kept."""
    if not images:
        raise DemoError('Name the photos with IMAGES="a.jpg b.jpg". Each clip costs credits.')
    rows = [_manifest_row(image) for image in images]
    with _exclusive(paths):
        paths.work.mkdir(exist_ok=True)
        with process_group(ROOT, paths.work, os.environ) as group:
            console.print(f"Valkey     {start_valkey(group, paths)}")
            log = start_worker(group, paths, grace=PAID_STREAM_GRACE_SECONDS)
            console.print(f"Worker     log: {_display_path(log)}")
            # All runs share a batch, so that a photo that is named again is not paid for again.
            return _make_clips(console, group, paths, "cloud", rows)


def _manifest_row(image: str) -> dict[str, object]:
    if is_url(image):
        return {"image": image}
    path = Path(image).resolve()
    if not path.is_file():
        raise DemoError(f"There is no file {image}.")
    return {"image": str(path), **request_for(path)}


@contextmanager
def _exclusive(paths: DemoPaths) -> Iterator[None]:
    """Prevent a second demo in the same folder.

    Raises:
        DemoError: Another demo is running there.
    """
    paths.root.mkdir(parents=True, exist_ok=True)
    with (paths.root / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DemoError(
                f"Another demo is running in {paths.root}. Wait until it has ended."
            ) from None
        yield


def _make_clips(
    console: Console,
    group: ProcessGroup,
    paths: DemoPaths,
    name: str,
    rows: Sequence[Mapping[str, object]],
) -> int:
    """Submit the photos, show their progress, and report the results."""
    manifest = paths.work / "photos.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    submit = [*REELQUEUE, "batch", "submit", str(manifest), "--name", name, "--json"]
    batch = json.loads(group.capture("submit", submit))
    if batch["rejected"]:
        reasons = "; ".join(str(row["reason"]) for row in batch["rejected"])
        raise DemoError(f"Photos were rejected: {reasons}")
    batch_id = str(batch["batch_id"])
    console.print(f"Submitted  {batch['jobs']} new jobs in batch {batch_id}\n")
    jobs = [str(record["job_id"]) for record in _results(group, batch_id)]
    group.run([*REELQUEUE, "watch", batch_id, *jobs])
    page = ["results", batch_id, "--format", "html", "--output", str(paths.page)]
    group.capture("page", [*REELQUEUE, *page])
    return _report(console, paths, _results(group, batch_id))


def _results(group: ProcessGroup, batch_id: str) -> list[dict[str, Any]]:
    """Return the records of the batch's jobs."""
    lines = group.capture("results", [*REELQUEUE, "results", batch_id, "--format", "jsonl"])
    return [json.loads(line) for line in lines.splitlines()]


def _report(console: Console, paths: DemoPaths, results: Sequence[Mapping[str, Any]]) -> int:
    """Print the clips, why a photo has none, and the page; return the exit status."""
    clips = [result["video"] for result in results if result["state"] == "succeeded"]
    console.print()
    for clip in clips:
        size = f"{clip['width']} x {clip['height']}, {clip['seconds']:.1f} s"
        path = _display_path(Path(clip["path"]))
        console.print(f"{path}  ({size}, {clip['bytes'] / 1e6:.1f} MB)")
    for result in results:
        if result["state"] != "succeeded":
            reason = result["reason"] or {}
            head = f"{result['image']}: {result['state']} ({reason.get('code')})"
            text = f"{head}. {reason.get('message')} {reason.get('remedy')}"
            console.print(text, markup=False)
    console.print(f"\nOpen the gallery: {paths.page.as_uri()}")
    return 0 if clips and len(clips) == len(results) else 1


def _display_path(path: Path) -> str:
    """Return a path relative to the checkout, if it is in it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
