"""The forked workers of the tests are as real as the others."""

import signal
from pathlib import Path

from tests.support.processes import Worker
from tests.support.valkey import Valkey
from tests.support.waiting import wait_until


def start(name: str, folder: Path, valkey: Valkey) -> Worker:
    env = {"REDIS_URL": valkey.url, "REELQUEUE_NAMESPACE": name}
    return Worker(name, folder / f"{name}.log", env)


def test_a_worker_has_its_own_environment_and_its_own_end(tmp_path: Path, valkey: Valkey) -> None:
    told, killed = (start(name, tmp_path, valkey) for name in ("told", "killed"))
    wait_until(lambda: " ready." in told.text(), "a worker to be ready")
    wait_until(lambda: " ready." in killed.text(), "a worker to be ready")
    assert "told.wakeups" in told.text()
    assert "killed.wakeups" in killed.text()
    killed.kill()
    assert not killed.alive
    assert told.alive
    told.terminate()
    assert told.wait() == 0
    assert killed.wait() == -signal.SIGKILL
