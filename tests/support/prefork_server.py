"""Servers that fork workers and stand-ins from a process that has imported their code.

Importing takes about a second of processor time at each start, and tests start hundreds of
processes. A forked process has its own environment and runs the program's own `main` from its
first line. `python -m tests.support.prefork_server FD PROGRAM` is such a server.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

ROOT: Final = Path(__file__).resolve().parents[2]

Program = Literal["celery", "sandbox"]

PR_SET_PDEATHSIG: Final = 1
"""See prctl(2)."""

CELERY_MODULES: Final = (
    *("celery.bin.celery", "celery.apps.worker", "celery.concurrency.gevent"),
    *("celery.backends.redis", "celery.worker.consumer", "kombu.transport.redis"),
    *("celery.app.control", "celery.app.events", "celery.app.log", "celery.fixups.django"),
    *("celery.worker.autoscale", "celery.worker.components", "celery.worker.strategy"),
    *("celery.worker.consumer.delayed_delivery", "gevent.fileobject", "gevent.resolver.thread"),
    *("structlog.dev", "sentry_sdk.integrations.celery", "fsspec.implementations.local"),
    # Everything of the project but `worker.app`, which reads the settings when it is imported, and
    # `tasks.polls`, whose pool of threads has a lock that gevent does not release after a fork.
    *("tasks.intake", "tasks.stages.celery_tasks"),
    *("config.observability", "config.sentry_events", "worker.broker.consumer"),
    *("worker.broker.control", "worker.broker.events", "worker.broker.result_backend"),
    *("worker.broker.startup_check", "worker.broker.transport", "worker.intake.bootstep"),
    *("worker.resources.freed_memory", "worker.runtime.bootsteps"),
    *("worker.telemetry.event_sender", "worker.telemetry.metrics_server"),
)


class ForkedProcess:
    """A forked process, with the part of `subprocess.Popen` that tests use.

    It stays a zombie until it is waited for, so that its process ID is not reused before.
    """

    def __init__(self, server: "PreforkServer", pid: int) -> None:
        self._server = server
        self._end = os.pidfd_open(pid)
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code if the process has ended."""
        return self._reap(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the process and return the exit code.

        Raises:
            subprocess.TimeoutExpired: It is still running.
        """
        code = self._reap(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal unless the process has ended."""
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
    """The connection to the process that forks.

    Args:
        program: What the forked processes run.
    """

    def __init__(self, program: Program) -> None:
        self._connection, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno()), program],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._replies = self._connection.makefile("r", encoding="utf-8")
        atexit.register(self.close)

    def start(self, arguments: Sequence[str], log: Path, env: Mapping[str, str]) -> ForkedProcess:
        """Fork a process.

        Args:
            arguments: The command line after the program's name.
            log: File that the output is appended to.
            env: The complete environment.
        """
        request = {"start": list(arguments), "log": str(log.absolute()), "env": dict(env)}
        return ForkedProcess(self, self._request(request))

    def reap(self, pid: int) -> int:
        """Return the exit code of a process that has ended."""
        return self._request({"reap": pid})

    def close(self) -> None:
        """Stop the process that forks. Processes that are still running are killed."""
        self._replies.close()
        self._connection.close()
        self._process.wait()

    def _request(self, request: Mapping[str, Any]) -> int:
        self._connection.sendall(json.dumps(request).encode() + b"\n")
        return int(self._replies.readline())


@cache
def prefork_server(program: Program) -> PreforkServer:
    """Return this process's server for a program."""
    return PreforkServer(program)


def _serve(
    line: int, fork: Callable[[], int], waitpid: Callable[[int, int], tuple[int, int]]
) -> list[str]:
    """Answer requests until the connection closes; in each forked process, return its arguments."""
    gc.collect()
    gc.freeze()
    with os.fdopen(os.dup(line), "rb") as requests:
        for text in requests:
            request = json.loads(text)
            if "reap" in request:
                _, status = waitpid(request["reap"], 0)
                os.write(line, b"%d\n" % os.waitstatus_to_exitcode(status))
            elif pid := fork():
                os.write(line, b"%d\n" % pid)
            else:
                os.close(line)
                _set_up(request)
                return list(request["start"])
    os._exit(0)


def _set_up(request: Mapping[str, Any]) -> None:
    """Give a forked process its log and its environment, and let it die with the server."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.environ.clear()
    os.environ.update(request["env"])


def _run_celery(line: int) -> None:
    """Patch as ``celery ... -P gevent`` does, import, and run a worker in each forked process."""
    import gevent  # noqa: PLC0415 - the stand-in and the tests must not be patched
    from gevent import monkey  # noqa: PLC0415 - as above

    monkey.patch_all()
    for name in CELERY_MODULES:
        importlib.import_module(name)
    from worker import faultpoints  # noqa: PLC0415 - as above
    from worker.egress.tls import shared_ssl_context  # noqa: PLC0415 - as above
    from worker.resources.preload import preload_modules  # noqa: PLC0415 - as above

    preload_modules()
    shared_ssl_context()
    # The original functions: gevent's loop would watch the forked processes.
    arguments = _serve(line, *monkey.get_original("os", ["fork", "waitpid"]))
    gevent.reinit()
    # The loop's time is that of the server's start: without this, first time-outs end at once.
    gevent.get_hub().loop.update_now()
    # It reads its variable of the environment when it is imported.
    importlib.reload(faultpoints)
    sys.argv = ["celery", *arguments]

    from celery.__main__ import main as celery  # noqa: PLC0415 - as above

    celery()


def _run_sandbox(line: int) -> None:
    """Import the stand-in, and run it in each forked process."""
    from sandbox.server import main as sandbox  # noqa: PLC0415 - a worker must not import it

    sandbox(_serve(line, os.fork, os.waitpid))


if __name__ == "__main__":
    {"celery": _run_celery, "sandbox": _run_sandbox}[sys.argv[2]](int(sys.argv[1]))
