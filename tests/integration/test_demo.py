"""`make run`, interrupted while jobs are running."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from tests.support.waiting import listens, wait_until


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_stops_all_of_its_servers(
    tmp_path: Path, number: signal.Signals
) -> None:
    output = tmp_path / "output"
    with output.open("wb") as sink:
        demo = subprocess.Popen(
            [sys.executable, "-m", "tasks.demo", "--folder", str(tmp_path / "demo")],
            cwd=ROOT,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(
            lambda: "Submitted" in output.read_text() or demo.poll() is not None, "jobs to submit"
        )
        ports = [int(port) for port in re.findall(r"//127\.0\.0\.1:(\d+)", output.read_text())]
        assert len(ports) == 2, output.read_text()
        assert all(map(listens, ports))
        demo.send_signal(number)
        assert demo.wait(120) == 130
        assert [port for port in ports if listens(port)] == []
    finally:
        demo.kill()
        demo.wait()
