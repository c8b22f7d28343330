"""`reelqueue worker --processes N`, with real workers."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.processes import Process, run_command_line
from tests.support.stack import FAST, Stack
from tests.support.waiting import free_port, wait_until
from worker.ledger.model.states import State

pytestmark = pytest.mark.integration

REELQUEUE = (sys.executable, "-m", "tasks.cli", "worker")


@contextmanager
def supervised(stack: Stack, *options: str, **env: str) -> Iterator[Process]:
    """Run the command, and end it with all that it has started."""
    process = Process([*REELQUEUE, *options], stack.folder / "log", {**stack.env, **env})
    try:
        yield process
    finally:
        pids = children(process.pid)
        process.stop()
        wait_until(lambda: not any(map(runs, pids)), "no worker to be left")


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that run."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def runs(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def nodes(stack: Stack) -> set[str]:
    """Return the registered workers by the first part of their node names."""
    return {str(name).partition("@")[0] for name in stack.redis.zrange("workers:{rq}", 0, -1)}


def test_two_processes_share_the_jobs_and_outlive_each_other(stack: Stack) -> None:
    stack.start_sandbox("--stream-seconds", "1.5")
    port = free_port()
    options = ("--processes", "2", "-n", "w@%h", "-c", "50")
    with supervised(stack, *options, REELQUEUE_METRICS_PORT=str(port)) as process:
        wait_until(lambda: nodes(stack) == {"w-1", "w-2"}, "both workers", explain=process.text)
        for k in (1, 2):
            url = f"http://127.0.0.1:{port + k}/metrics"
            wait_until(lambda url=url: answers(url), "the metrics")  # type: ignore[misc]

        jobs = [stack.submit(stack.image()) for _ in range(12)]
        wait_until(lambda: stack.ledger.counts()[0].get(State.GENERATING), "a message")
        killed, other = children(process.pid)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: len(set(children(process.pid)) - {killed}) == 2, "a new process")
        assert other in children(process.pid)
        counts = stack.wait_until_idle()
        # A message of the killed worker that did not arrive has an unknown outcome.
        assert counts[State.SUCCEEDED] + counts.get(State.HELD, 0) == len(jobs)
        assert set(stack.messages_by_image().values()) == {1}

        # It reads the streams of paid messages to their end.
        paid = stack.submit(stack.image())
        wait_until(lambda: stack.job(paid).paid_messages, "the message")
        process.terminate()
        assert process.wait() == 0, process.text()
        assert stack.job(paid).state is not State.GENERATING
        assert stack.job(paid).paid_messages == 1


def answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    ("options", "env", "text"),
    [
        (("--processes=0",), {}, "--processes must be a number from 1 to 256."),
        (("--processes=2", "-D"), {}, "--detach"),
        (("--processes=2", "--no-such-option"), {}, "No such option"),
        (("--processes=2",), {"REELQUEUE_LEASE_SECONDS": "x"}, "REELQUEUE_LEASE_SECONDS"),
        (("--processes=9",), {"REELQUEUE_METRICS_PORT": "65530"}, "ports up to 65539"),
    ],
)
def test_wrong_usage_ends_with_status_2_and_starts_nothing_again(
    options: tuple[str, ...], env: dict[str, str], text: str, tmp_path: Path
) -> None:
    answer = run_command_line("worker", *options, folder=tmp_path, **{**FAST, **env})
    assert answer.returncode == 2, answer.stderr
    assert text in answer.stderr
    assert "Traceback" not in answer.stderr
