"""The programs in `examples` run unchanged: each submits a job with a key and waits for it."""

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
    """Run a program and return the JSON that it prints."""
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


def test_each_example_submits_a_job_and_prints_its_record(
    clean_stack: Stack, tmp_path: Path
) -> None:
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
        own = run(
            *(sys.executable, str(ROOT / "examples/python_api.py"), image, "example-1"),
            folder=ROOT,
            env=stack.env,
        )
        assert (own["job_id"], own["state"]) == (job_id("example-1"), "succeeded")

        script = str(shutil.copy(ROOT / "examples/celery_only.py", tmp_path))
        third_party = third_party_python(tmp_path)
        other = run(
            *(*third_party, script, image, "example-2"),
            folder=tmp_path,
            env={"REDIS_URL": stack.valkey.url},
        )
        assert (other["job_id"], other["state"]) == (job_id("example-2"), "succeeded")

        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: flower_answers(url) or not flower.alive, "Flower to answer")
        assert flower.alive, flower.text()
        shell = ("sh", str(ROOT / "examples/flower.sh"), image, "example-3")
        printed = run(*shell, folder=tmp_path, env={"FLOWER": url})
        assert printed["result"]["job_id"] == job_id("example-3")
        assert printed["result"]["video"]["codec"] == "h264"
    finally:
        flower.stop()


def third_party_python(folder: Path) -> tuple[str, ...]:
    """Return the command of a Python that has Celery and cannot import this project."""
    packages = Path(httpx.__file__).parents[1]
    # Without `site`, the .pth file of the editable installation is not read.
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
