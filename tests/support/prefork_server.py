"""Workers that are born grown up: forked from a process that has imported the libraries.

The start of a worker is some seconds of importing, the same each time; tests start hundreds. What
is forked here goes on as ``celery …`` from its first line, with an environment of its own, and
imports this project itself. ``python -m tests.support.prefork_server`` is the process that forks.
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
    """A forked worker, with the part of `subprocess.Popen` that tests use.

    It stays a zombie until it is waited for: its process id is nobody else's before.
    """

    def __init__(self, server: "PreforkServer", pid: int) -> None:
        self._server = server
        self._end = os.pidfd_open(pid)
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, when it has ended."""
        return self._reap(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, as soon as it has ended.

        Raises:
            subprocess.TimeoutExpired: It runs still.
        """
        code = self._reap(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"worker {self.pid}", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Signal it, if it has not ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _reap(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._end], [], [], timeout)[0]:
            self.returncode = self._server.reap(self.pid)
            os.close(self._end)
        return self.returncode


class PreforkServer:
    """The process that forks, and the line to it."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._answers = self._line.makefile("r", encoding="utf-8")
        atexit.register(self.close)

    def start(self, arguments: Sequence[str], log: Path, env: Mapping[str, str]) -> ForkedWorker:
        """Fork a worker.

        Args:
            arguments: Of ``celery``.
            log: Where its output goes.
            env: Its whole environment.
        """
        asked = {"start": list(arguments), "log": str(log.absolute()), "env": dict(env)}
        return ForkedWorker(self, self._ask(asked))

    def reap(self, pid: int) -> int:
        """The exit code of a worker that has ended."""
        return self._ask({"reap": pid})

    def close(self) -> None:
        """End the process that forks. Workers that run go on."""
        self._answers.close()
        self._line.close()
        self._process.wait()

    def _ask(self, request: Mapping[str, Any]) -> int:
        self._line.sendall(json.dumps(request).encode() + b"\n")
        return int(self._answers.readline())


@cache
def prefork_server() -> PreforkServer:
    """The prefork server of this process."""
    return PreforkServer()


def _serve(line: int) -> list[str]:
    """Answer until nobody asks any more; in each worker, return its arguments."""
    from gevent import monkey  # noqa: PLC0415 - tests that only ask must not be patched

    # The plain ones: gevent's own would have its loop watch the children.
    fork, waitpid = monkey.get_original("os", ["fork", "waitpid"])
    with os.fdopen(os.dup(line), "rb") as requests:
        for request in requests:
            asked = json.loads(request)
            if "reap" in asked:
                _, status = waitpid(asked["reap"], 0)
                os.write(line, b"%d\n" % os.waitstatus_to_exitcode(status))
            elif pid := fork():
                os.write(line, b"%d\n" % pid)
            else:
                os.close(line)
                return _become(asked)
    os._exit(0)


def _become(asked: Mapping[str, Any]) -> list[str]:
    import gevent  # noqa: PLC0415 - tests that only ask must not be patched

    log = os.open(asked["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.environ.clear()
    os.environ.update(asked["env"])
    gevent.reinit()
    return list(asked["start"])


def _import_libraries() -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def main() -> None:
    """Patch and import as ``celery … -P gevent`` does, then fork on demand."""
    from gevent import monkey  # noqa: PLC0415 - tests that only ask must not be patched

    monkey.patch_all()
    _import_libraries()
    sys.argv = ["celery", *_serve(int(sys.argv[1]))]

    from celery.__main__ import main as celery  # noqa: PLC0415 - as above

    celery()


if __name__ == "__main__":
    main()
