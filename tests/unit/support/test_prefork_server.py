"""Forked workers behave like workers that are started by themselves."""

import signal
from pathlib import Path

from tests.support.processes import Worker
from tests.support.valkey import Valkey
from tests.support.waiting import wait_until


def start(name: str, folder: Path, valkey: Valkey) -> Worker:
    env = {"REDIS_URL": valkey.url, "REELQUEUE_NAMESPACE": name}
    return Worker(name, folder / f"{name}.log", env)


def test_a_worker_has_its_own_environment_and_exit_code(tmp_path: Path, valkey: Valkey) -> None:
    terminated, killed = (start(name, tmp_path, valkey) for name in ("terminated", "killed"))
    wait_until(lambda: terminated.is_ready, "a worker to be ready")
    wait_until(lambda: killed.is_ready, "a worker to be ready")
    assert "terminated.wakeups" in terminated.text()
    assert "killed.wakeups" in killed.text()
    killed.kill()
    assert not killed.alive
    assert terminated.alive
    terminated.terminate()
    assert terminated.wait() == 0
    assert killed.wait() == -signal.SIGKILL
