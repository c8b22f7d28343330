"""The wheel, installed into a fresh environment without the source folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.support.processes import ROOT

PACKAGES = ("config", "worker", "tasks", "sandbox")
CONSUMER = """
from tasks import get, submit
reveal_type(get("job"))
reveal_type(submit({"image": "a.jpg"}))
"""


DEPENDENCIES = sysconfig.get_path("purelib")
"""The packages of this environment. In PYTHONPATH, its link to the source folder has no effect."""


def run(*command: str | Path, folder: Path, path: str = "") -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a virtual environment with the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    build = ("wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, source)
    run(*pip, *build, folder=folder)
    (wheel,) = folder.glob("*.whl")
    shutil.rmtree(source)
    environment = folder / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment, folder=folder)
    python = environment / "bin" / "python"
    run(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel, folder=folder)
    return environment


def _files(root: Path, package: str) -> set[Path]:
    files = (path for path in (root / package).rglob("*") if path.is_file())
    return {path.relative_to(root) for path in files if path.suffix != ".pyc"}


def test_a_consumer_gets_the_types(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "consumer.py").write_text(CONSUMER)
    options = ("--strict", "--python-executable", installed / "bin" / "python")
    found = run(sys.executable, "-m", "mypy", *options, "consumer.py", folder=tmp_path)
    assert 'Revealed type is "tasks.schema.result.Result"' in found
    assert 'Revealed type is "tasks.schema.submission.Submission"' in found


def test_every_package_is_marked_as_typed(installed: Path) -> None:
    (site,) = installed.glob("lib/python*/site-packages")
    assert {path.parent.name for path in site.glob("*/py.typed")} >= {*PACKAGES}


def test_the_command_starts(installed: Path, tmp_path: Path) -> None:
    assert run(
        installed / "bin" / "reelqueue", "--version", folder=tmp_path, path=DEPENDENCIES
    ).startswith("reelqueue ")


def test_every_file_is_installed(installed: Path, tmp_path: Path) -> None:
    (site,) = installed.glob("lib/python*/site-packages")
    for package in PACKAGES:
        assert _files(site, package) == _files(ROOT, package)
    program = "from worker.ledger.scripts import source; print(source('prelude')[:2])"
    assert (
        run(installed / "bin" / "python", "-c", program, folder=tmp_path, path=DEPENDENCIES)
        == "--\n"
    )
