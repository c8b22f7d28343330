"""Child processes of a test."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.support.prefork_server import ForkedProcess, Program, prefork_server
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]


def run_command_line(*arguments: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``reelqueue`` in a process of its own and in a folder, and capture its output."""
    return subprocess.run(
        [sys.executable, "-m", "tasks.cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )


class Process:
    """A child process with its log."""

    def __init__(self, command: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        """Start a command; ``env`` is added to this process's environment."""
        with log.open("ab") as sink:
            self._child: subprocess.Popen[bytes] | ForkedProcess = subprocess.Popen(
                command, cwd=ROOT, stdout=sink, stderr=sink, env={**os.environ, **env}
            )
        self.log = log

    @property
    def pid(self) -> int:
        """The process ID."""
        return self._child.pid

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self._child.kill()
        self._child.wait()

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._child.send_signal(signal.SIGTERM)

    def freeze(self) -> None:
        """Send SIGSTOP."""
        self._child.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Send SIGCONT."""
        self._child.send_signal(signal.SIGCONT)

    def wait(self, limit: float = 120) -> int:
        """Wait for the end and return the exit code."""
        return self._child.wait(limit)

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return self._child.poll() is None

    @property
    def is_ready(self) -> bool:
        """Whether a worker takes jobs. It is registered before that."""
        return " ready." in self.text()

    def stop(self) -> None:
        """Kill it if it is running, also if it is frozen."""
        if self.alive:
            self.resume()
            self._child.kill()
            self._child.wait()

    def text(self) -> str:
        """Return its output."""
        return self.log.read_text(errors="replace")


class ForkedProgram(Process):
    """A child process that is forked from a prefork server, so that it need not import its code."""

    def __init__(
        self, program: Program, arguments: Sequence[str], log: Path, env: Mapping[str, str]
    ) -> None:
        """Start a program; ``env`` is added to this process's environment."""
        log.touch()
        self._child = prefork_server(program).start(arguments, log, {**os.environ, **env})
        self.log = log


class Worker(ForkedProgram):
    """A worker: ``celery -A worker.app worker -P gevent``."""

    def __init__(self, name: str, log: Path, env: Mapping[str, str], *flags: str) -> None:
        """Start a worker with a node name of its own."""
        arguments = ["-A", "worker.app", "worker", "-P", "gevent", "-n", f"{name}@%h", *flags]
        super().__init__("celery", arguments, log, env)


class Sandbox:
    """The stand-in of the video API as a process of its own."""

    def __init__(self, folder: Path, *flags: str) -> None:
        """Start it, and wait until it listens."""
        folder.mkdir(parents=True, exist_ok=True)
        port_file = folder / "port"
        self.process = ForkedProgram(
            "sandbox",
            [
                *("--port", "0", "--port-file", str(port_file)),
                *("--state-dir", str(folder / "state"), *flags),
            ],
            folder / "sandbox.log",
            {},
        )
        wait_until(port_file.exists, "the stand-in to listen")
        self.url = f"http://127.0.0.1:{port_file.read_text().strip()}"
        self._http = httpx.Client(base_url=self.url, trust_env=False, timeout=30)

    def ledger(self) -> dict[str, list[dict[str, object]]]:
        """Return its ledger of accounts, messages, renders and requests."""
        reply = self._http.get("/sandbox/ledger").raise_for_status()
        found: dict[str, list[dict[str, object]]] = reply.json()
        return found

    def ledger_without_requests(self) -> dict[str, Any]:
        """Return the ledger without the list of requests, which grows with every call."""
        reply = self._http.get("/sandbox/ledger?requests=0").raise_for_status()
        found: dict[str, Any] = reply.json()
        return found

    def inject_faults(self, *faults: Mapping[str, object]) -> None:
        """Inject faults, as documented in `sandbox.faults`."""
        self._http.post("/sandbox/faults", json=list(faults)).raise_for_status()

    def clear_faults(self) -> None:
        """Remove all injected faults."""
        self._http.delete("/sandbox/faults").raise_for_status()

    def top_up(self, account: str, credits_added: int) -> None:
        """Add credits to an account."""
        path = f"/sandbox/accounts/{account}/credits"
        self._http.post(path, json={"add": credits_added}).raise_for_status()

    def change_account(self, account: str, what: str, **fields: object) -> None:
        """Change an account: ``expire``, ``revive``, ``tokens``, ``scopes``."""
        path = f"/sandbox/accounts/{account}/{what}"
        self._http.post(path, json=fields).raise_for_status()

    def stop(self) -> None:
        """Stop it."""
        self._http.close()
        self.process.stop()
