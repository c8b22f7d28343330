"""The commands that start processes, and the entry point, in processes of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as NoConnection

from tests.support.processes import ROOT, Process, run_command_line
from tests.support.waiting import free_port, listens, refusing_port, wait_until

REELQUEUE = (sys.executable, "-m", "tasks.cli")


def test_the_embedded_valkey_is_durable_and_replaces_the_command(tmp_path: Path) -> None:
    """It runs in the command's process, so that a signal to the command ends it."""
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


def test_the_stand_in_prints_the_help_and_the_default_of_each_option(tmp_path: Path) -> None:
    answer = run_command_line("sandbox", "--help", folder=tmp_path)
    assert answer.returncode == 0, answer.stderr
    entries = re.split(r"^  (?=--)", answer.stdout, flags=re.MULTILINE)[1:]
    assert "--port-file" in answer.stdout
    assert [entry for entry in entries if "(default: " not in " ".join(entry.split())] == []


@pytest.mark.parametrize("command", ["sandbox --port {}", "valkey --port {}", "flower --port={}"])
def test_a_port_in_use_is_named_without_a_traceback(command: str, tmp_path: Path) -> None:
    port = refusing_port()
    answer = run_command_line(*command.format(port).split(), folder=tmp_path)
    assert answer.returncode == 3, answer.stderr
    assert f"cannot listen on port {port} of 127.0.0.1: Address already in use. " in answer.stderr
    assert "--port" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_the_stand_in_has_the_name_of_the_command_that_starts_it(tmp_path: Path) -> None:
    answer = run_command_line("sandbox", "--port", "65536", folder=tmp_path)
    assert answer.returncode == 2
    assert answer.stderr.startswith("usage: reelqueue sandbox [-h]")
    assert "is not a number from 0 to 65535" in answer.stderr


def test_arguments_are_forwarded_without_parsing(tmp_path: Path) -> None:
    """Celery takes `-Qcln` as the name of a queue, and rejects the unknown option."""
    answer = run_command_line(
        "worker", "--processes=1", "-Qcln", "--no-such-option", folder=tmp_path
    )
    assert answer.returncode == 2
    assert "No such option" in answer.stderr
    assert "--no-such-option" in answer.stderr


def test_errors_are_printed_without_a_traceback(tmp_path: Path) -> None:
    answer = run_command_line(
        "list", folder=tmp_path, REDIS_URL=f"redis://127.0.0.1:{refusing_port()}/0"
    )
    assert answer.returncode == 3
    assert "reelqueue valkey" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
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


@pytest.fixture
def foreign_folder(tmp_path: Path) -> Path:
    """A folder with packages and modules that have the names of installed ones."""
    for name in ("config", "tasks", "worker", "sandbox"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('foreign')")
    (tmp_path / "redis.py").write_text("raise RuntimeError('foreign')")
    return tmp_path


def run_entry_point(
    *arguments: str, folder: Path, program: str
) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [Path(sys.executable).with_name(program), *arguments],
        cwd=folder,
        env={**environment, "REDIS_URL": f"redis://127.0.0.1:{refusing_port()}/0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["worker", "--processes=1", "--no-such-option"], 2, "No such option"),
        (["flower", "--address=not/an/address", "--basic-auth=a:b"], 3, "cannot listen"),
        (["sandbox", "--help"], 0, "--port-file"),
        (["list"], 3, "Redis does not answer"),
    ],
)
def test_a_folder_with_packages_of_the_same_names_hides_none(
    arguments: list[str], code: int, text: str, foreign_folder: Path
) -> None:
    answer = run_entry_point(*arguments, folder=foreign_folder, program="reelqueue")
    assert "foreign" not in answer.stdout + answer.stderr
    assert text in answer.stdout + answer.stderr
    assert answer.returncode == code


@pytest.mark.parametrize("hidden", ["config", "tasks"])
def test_celery_says_which_package_hides_ours(hidden: str, tmp_path: Path) -> None:
    """Celery itself looks into the working folder first."""
    (tmp_path / hidden).mkdir()
    (tmp_path / hidden / "__init__.py").touch()
    answer = run_entry_point(
        *("-A", "worker.app", "worker", "-P", "gevent"), folder=tmp_path, program="celery"
    )
    assert f"hides the package '{hidden}' of reelqueue" in answer.stderr
    assert "reelqueue worker" in answer.stderr
