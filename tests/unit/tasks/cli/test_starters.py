"""The starters and the entry point, as processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as NoConnection

from tests.support.processes import ROOT, Process
from tests.support.waiting import free_port, listens, wait_until

REELQUEUE = (sys.executable, "-m", "tasks.cli")


def run(*arguments: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*REELQUEUE, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_embedded_valkey_keeps_what_it_is_told(tmp_path: Path) -> None:
    """Its process is the command's own, so that a signal to the one ends the other."""
    port = free_port()
    command = [*REELQUEUE, "valkey", "--port", str(port), "--dir", str(tmp_path / "data")]
    server = Process(command, tmp_path / "log", {})
    try:
        wait_until(lambda: listens(port) or not server.alive, "Valkey to listen")
        with Redis(port=port, decode_responses=True) as client:
            assert client.config_get("append*") == {
                **client.config_get("append*"),
                "appendonly": "yes",
                "appendfsync": "always",
            }
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("save") == {"save": ""}
            assert client.info("server")["process_id"] == server.pid
            client.set("a", "b")
        server.terminate()
        server.wait()
        with Redis(port=port) as client, pytest.raises(NoConnection):
            client.ping()
    finally:
        server.stop()


def test_the_sandbox_prints_its_own_help(tmp_path: Path) -> None:
    answer = run("sandbox", "--help", folder=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "--port-file" in answer.stdout


def test_arguments_are_passed_on_unparsed(tmp_path: Path) -> None:
    """Celery reads `-Qcln` as a queue's name, and refuses the option that it does not know."""
    answer = run("worker", "-Qcln", "--no-such-option", folder=tmp_path)
    assert answer.returncode == 2
    assert "No such option" in answer.stderr
    assert "--no-such-option" in answer.stderr


def test_trouble_is_told_without_a_traceback(tmp_path: Path) -> None:
    answer = run("list", folder=tmp_path, REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert answer.returncode == 3
    assert "reelqueue valkey" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [*REELQUEUE, "schema"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    child.stdout.close()
    assert child.stderr is not None
    with child.stderr:
        assert "Traceback" not in child.stderr.read()
    child.wait()
