"""A prefork server for test workers: they are forked from a process that has imported libraries.

A worker's start is mostly seconds of the same imports, and tests start hundreds of workers. A
forked worker runs ``celery …`` from its first line, with an environment of its own, and imports
this project itself. ``python -m tests.support.prefork_server`` is the server.
"""

import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]

LIBRARIES: Final = (
    *("celery.bin.celery", "celery.apps.worker", "celery.concurrency.gevent"),
    *("celery.backends.redis", "celery.worker.consumer", "kombu.transport.redis"),
    *("redis", "httpx", "httpcore", "pydantic", "dotenv", "structlog", "structlog.dev"),
    *("sentry_sdk", "sentry_sdk.integrations.celery", "fsspec.implementations.local"),
    *("PIL.Image", "PIL.ImageOps", "av", "rich.console"),
)


class ForkedWorker:
    """A forked worker, with the methods of `subprocess.Popen` that tests use.

    It stays a zombie until it is waited for, so that its process id is not reused before.
    """

    def __init__(self, server: "PreforkServer", pid: int) -> None:
        self._server = server
        self._end = os.pidfd_open(pid)
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self._reap(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it exits, and return the exit code.

        Raises:
            subprocess.TimeoutExpired: It is still running.
        """
        code = self._reap(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"worker {self.pid}", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal unless it has exited."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _reap(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._end], [], [], timeout)[0]:
            self.returncode = self._server.reap(self.pid)
            os.close(self._end)
        return self.returncode


class PreforkServer:
    """The process that forks, and the connection to it."""

    def __init__(self) -> None:
        self._connection, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._replies = self._connection.makefile("r", encoding="utf-8")
        atexit.register(self.close)

    def start(self, arguments: Sequence[str], log: Path, env: Mapping[str, str]) -> ForkedWorker:
        """Fork a worker.

        Args:
            arguments: The arguments of ``celery``.
            log: The file that its output is appended to.
            env: Its whole environment.
        """
        request = {"start": list(arguments), "log": str(log.absolute()), "env": dict(env)}
        return ForkedWorker(self, self._request(request))

    def reap(self, pid: int) -> int:
        """Return the exit code of a worker that has exited."""
        return self._request({"reap": pid})

    def close(self) -> None:
        """Stop the process that forks. Running workers continue."""
        self._replies.close()
        self._connection.close()
        self._process.wait()

    def _request(self, request: Mapping[str, Any]) -> int:
        self._connection.sendall(json.dumps(request).encode() + b"\n")
        return int(self._replies.readline())


@cache
def prefork_server() -> PreforkServer:
    """Return the prefork server of this process, which the first call starts."""
    return PreforkServer()


def _serve(connection: int) -> list[str]:
    """Handle requests until the connection is closed; in each worker, return its arguments."""
    from gevent import monkey  # noqa: PLC0415 - only the server is to be patched

    # The original functions: with gevent's own, its loop would watch the children.
    fork, waitpid = monkey.get_original("os", ["fork", "waitpid"])
    with os.fdopen(os.dup(connection), "rb") as requests:
        for line in requests:
            request = json.loads(line)
            if "reap" in request:
                _, status = waitpid(request["reap"], 0)
                os.write(connection, b"%d\n" % os.waitstatus_to_exitcode(status))
            elif pid := fork():
                os.write(connection, b"%d\n" % pid)
            else:
                os.close(connection)
                return _become_worker(request)
    os._exit(0)


def _become_worker(request: Mapping[str, Any]) -> list[str]:
    import gevent  # noqa: PLC0415 - only the server is to be patched

    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.environ.clear()
    os.environ.update(request["env"])
    gevent.reinit()
    return list(request["start"])


def _import_libraries() -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def main() -> None:
    """Patch and import as ``celery … -P gevent`` does, then fork workers on request."""
    from gevent import monkey  # noqa: PLC0415 - only the server is to be patched

    monkey.patch_all()
    _import_libraries()
    sys.argv = ["celery", *_serve(int(sys.argv[1]))]

    from celery.__main__ import main as celery  # noqa: PLC0415 - as above

    celery()


if __name__ == "__main__":
    main()
