"""The examples, run as they stand: each submits with a key and follows the job to its record."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import httpx
import pytest

from tests.support.processes import ROOT, Process
from tests.support.stack import Stack
from tests.support.waiting import free_port, wait_until

pytestmark = pytest.mark.integration


def run(*command: str, folder: Path, env: dict[str, str]) -> dict[str, Any]:
    """What a program prints, as JSON."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def job_id(key: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"reelqueue:job:{key}"))


def flower_answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthcheck").is_success
    except httpx.TransportError:
        return False


def test_each_example_follows_its_job_to_the_record(clean_stack: Stack, tmp_path: Path) -> None:
    stack = clean_stack
    port = free_port()
    flower = Process(
        [
            *(sys.executable, "-m", "celery", "-A", "worker.app", "flower"),
            *("--address=127.0.0.1", f"--port={port}"),
        ],
        tmp_path / "flower.log",
        {**stack.env, "FLOWER_UNAUTHENTICATED_API": "true"},
    )
    try:
        image = str(stack.image())
        ours = run(
            *(sys.executable, str(ROOT / "examples/python_api.py"), image, "example-1"),
            folder=ROOT,
            env=stack.env,
        )
        assert (ours["job_id"], ours["state"]) == (job_id("example-1"), "succeeded")

        script = str(shutil.copy(ROOT / "examples/celery_only.py", tmp_path))
        stranger = strangers_python(tmp_path)
        theirs = run(
            *(*stranger, script, image, "example-2"),
            folder=tmp_path,
            env={"REDIS_URL": stack.valkey.url},
        )
        assert (theirs["job_id"], theirs["state"]) == (job_id("example-2"), "succeeded")

        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: flower_answers(url) or not flower.alive, "Flower to answer")
        assert flower.alive, flower.text()
        shell = ("sh", str(ROOT / "examples/flower.sh"), image, "example-3")
        told = run(*shell, folder=tmp_path, env={"FLOWER": url})
        assert told["result"]["job_id"] == job_id("example-3")
        assert told["result"]["video"]["codec"] == "h264"
    finally:
        flower.stop()


def strangers_python(folder: Path) -> tuple[str, ...]:
    """A Python with Celery that cannot import anything of ours."""
    packages = Path(httpx.__file__).parents[1]
    # Without `site`, the file that makes our packages importable in place is not read.
    start = folder / "start.py"
    start.write_text(
        "import runpy, sys\n"
        f"sys.path.append({str(packages)!r})\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    python = (sys.executable, "-I", "-S", str(start))
    probe = folder / "probe.py"
    for module in ("tasks", "worker"):
        probe.write_text(f"import celery\nimport {module}\n")
        answer = subprocess.run(
            [*python, str(probe)], cwd=folder, capture_output=True, text=True, check=False
        )
        assert f"No module named '{module}'" in answer.stderr
    return python
