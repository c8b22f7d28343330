"""Child processes of a test: started, watched, and ended by process id."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.support.prefork_server import ForkedProcess, Program, prefork_server
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]


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
        """Its process ID."""
        return self._child.pid

    def kill(self) -> None:
        """``kill -9``: no chance to clean up."""
        self._child.kill()
        self._child.wait()

    def terminate(self) -> None:
        """SIGTERM."""
        self._child.send_signal(signal.SIGTERM)

    def freeze(self) -> None:
        """SIGSTOP."""
        self._child.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._child.send_signal(signal.SIGCONT)

    def wait(self, limit: float = 60) -> int:
        """Wait for its end; the exit code."""
        return self._child.wait(limit)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._child.poll() is None

    def stop(self) -> None:
        """End it, by force if need be."""
        if self.alive:
            self.thaw()
            self._child.kill()
            self._child.wait()

    def text(self) -> str:
        """What it has written."""
        return self.log.read_text(errors="replace")


class ForkedProgram(Process):
    """A child process that is forked from a server, which saves the time of importing."""

    def __init__(
        self, program: Program, arguments: Sequence[str], log: Path, env: Mapping[str, str]
    ) -> None:
        """Start a program; ``env`` is added to this process's environment."""
        log.touch()
        self._child = prefork_server(program).start(arguments, log, {**os.environ, **env})
        self.log = log


class Worker(ForkedProgram):
    """``celery -A worker.app worker -P gevent``."""

    def __init__(self, name: str, log: Path, env: Mapping[str, str], *flags: str) -> None:
        """Start a worker with a node name of its own."""
        arguments = ["-A", "worker.app", "worker", "-P", "gevent", "-n", f"{name}@%h", *flags]
        super().__init__("celery", arguments, log, env)


class Sandbox:
    """The stand-in of the video API as a process of its own."""

    def __init__(self, folder: Path, *flags: str) -> None:
        """Start it and wait until it listens."""
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
        """What it was asked."""
        reply = self._http.get("/sandbox/ledger").raise_for_status()
        found: dict[str, list[dict[str, object]]] = reply.json()
        return found

    def ledger_without_requests(self) -> dict[str, Any]:
        """The same but for the list of single calls, which grows without end."""
        reply = self._http.get("/sandbox/ledger?requests=0").raise_for_status()
        found: dict[str, Any] = reply.json()
        return found

    def inject_faults(self, *faults: Mapping[str, object]) -> None:
        """Ask for faults."""
        self._http.post("/sandbox/faults", json=list(faults)).raise_for_status()

    def clear_faults(self) -> None:
        """Take all faults back."""
        self._http.delete("/sandbox/faults").raise_for_status()

    def top_up(self, account: str, credits_added: int) -> None:
        """Add credits to an account."""
        path = f"/sandbox/accounts/{account}/credits"
        self._http.post(path, json={"add": credits_added}).raise_for_status()

    def change_account(self, account: str, what: str, **told: object) -> None:
        """Change an account: ``expire``, ``revive``, ``tokens``, ``scopes``."""
        path = f"/sandbox/accounts/{account}/{what}"
        self._http.post(path, json=told).raise_for_status()

    def stop(self) -> None:
        """End it."""
        self._http.close()
        self.process.stop()
