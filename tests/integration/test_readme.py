"""The README's commands, run as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import House

ROOT = Path(__file__).resolve().parents[2]
RUN = re.compile(r"<!-- run -->\n```sh\n(.*?)```", re.DOTALL)


@pytest.mark.integration
def test_the_commands_marked_to_run_do(house: House, tmp_path: Path) -> None:
    """Given a worker and the stand-in, when each block is run, then no command fails."""
    blocks = RUN.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert blocks
    house.open_sandbox()
    house.start_worker()
    command = tmp_path / "bin" / "reelqueue"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tasks.cli "$@"\n')
    command.chmod(0o755)
    path = os.pathsep.join([str(command.parent), os.environ["PATH"]])
    for block in blocks:
        done = subprocess.run(
            ["/bin/sh", "-e", "-x", "-c", block],
            cwd=ROOT,
            env={**os.environ, **house.env, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout + done.stderr
