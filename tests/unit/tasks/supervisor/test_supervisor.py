"""The supervisor, with real processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tasks.supervisor.process import SupervisedProcess
from tests.support.processes import ROOT
from tests.support.waiting import wait_until

CHILD = """
import os, signal, sys, time
folder, name = sys.argv[1:]
def note(text):
    with open(f"{folder}/{name}", "a") as file:
        file.write(f"{text}\\n")
def on_signal(number, _frame):
    note(signal.Signals(number).name)
    if os.path.exists(f"{folder}/finish"):
        sys.exit(int(open(f"{folder}/finish").read()))
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    signal.signal(number, on_signal)
if os.path.exists(f"{folder}/{name}-usage"):
    sys.exit(2)
note(os.getpid())
while True:
    signal.pause()
"""
SUPERVISOR = """
import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
from tasks.supervisor.process import SupervisedProcess
from tasks.supervisor.supervisor import Supervisor
folder, child = sys.argv[1:]
sys.exit(Supervisor([
    SupervisedProcess(name, [sys.executable, "-c", child, folder, name], os.environ)
    for name in ("one", "two")
]).run())
"""


class Supervised:
    """A supervisor of two processes that note what they get."""

    def __init__(self, folder: Path, program: str = SUPERVISOR) -> None:
        self.folder = folder
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", program, str(folder), CHILD],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=log,
                process_group=0,
            )

    def notes(self, name: str) -> list[str]:
        file = self.folder / name
        return file.read_text().split() if file.exists() else []

    def pids(self) -> list[int]:
        """Return the IDs of all processes that were started."""
        notes = [*self.notes("one"), *self.notes("two")]
        return [int(note) for note in notes if note.isdecimal()]

    def wait_for_start(self) -> "Supervised":
        wait_until(lambda: len(self.pids()) == 2, "two processes", explain=self.log)
        return self

    def finish_with(self, status: int) -> None:
        """Let the processes end at the next signal."""
        (self.folder / "finish").write_text(str(status))

    def log(self) -> str:
        return (self.folder / "log").read_text()


def is_alive(pid: int) -> bool:
    with suppress(OSError):
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    supervised = Supervised(tmp_path)
    try:
        yield supervised
    finally:
        supervised.process.kill()
        supervised.process.wait()
        wait_until(lambda: not any(map(is_alive, supervised.pids())), "no process to be left")


def test_the_wait_grows_with_each_early_end() -> None:
    process = SupervisedProcess("x", ["true"], {})
    assert [process.schedule() for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_process_that_is_killed_is_restarted(supervised: Supervised) -> None:
    first, second = supervised.wait_for_start().pids()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: len(supervised.pids()) == 3, "a new process", explain=supervised.log)
    assert is_alive(second)
    assert "SIGKILL" in supervised.log()


def test_a_signal_stops_all_processes_and_the_supervisor_waits_for_them(
    supervised: Supervised,
) -> None:
    supervised.wait_for_start()
    supervised.process.terminate()
    names = ("one", "two")
    wait_until(lambda: all("SIGTERM" in supervised.notes(name) for name in names), "the signal")
    assert supervised.process.poll() is None, "it waits for them"
    supervised.finish_with(0)
    supervised.process.terminate()
    assert supervised.process.wait(120) == 0
    assert len(supervised.pids()) == 2, "none is started again"


def test_control_c_reaches_each_process_once(supervised: Supervised) -> None:
    """A terminal sends it to the whole process group of the supervisor."""
    supervised.wait_for_start()
    supervised.finish_with(0)
    os.killpg(supervised.process.pid, signal.SIGINT)
    assert supervised.process.wait(120) == 0
    for name in ("one", "two"):
        assert supervised.notes(name)[1:] == ["SIGINT"]


def test_a_closed_terminal_lets_the_processes_drain(supervised: Supervised) -> None:
    supervised.wait_for_start()
    supervised.finish_with(0)
    supervised.process.send_signal(signal.SIGHUP)
    assert supervised.process.wait(120) == 0
    assert supervised.notes("one")[1:] == ["SIGTERM"]


def test_a_failure_during_the_stop_is_the_exit_status(supervised: Supervised) -> None:
    supervised.wait_for_start()
    supervised.finish_with(7)
    supervised.process.terminate()
    assert supervised.process.wait(120) == 1


def test_wrong_options_of_a_worker_end_all_processes(supervised: Supervised) -> None:
    """A restart would not help."""
    first, _ = supervised.wait_for_start().pids()
    supervised.finish_with(0)
    (supervised.folder / "one-usage").touch()
    (supervised.folder / "two-usage").touch()
    os.kill(first, signal.SIGKILL)
    assert supervised.process.wait(120) == 2
    assert "cannot run" in supervised.log()


def test_no_process_is_left_when_the_supervisor_is_killed(supervised: Supervised) -> None:
    pids = supervised.wait_for_start().pids()
    supervised.process.kill()
    supervised.process.wait()
    wait_until(lambda: not any(map(is_alive, pids)), "the processes to end")


def test_a_process_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    """The supervisor must survive this, because the other processes would die with it."""
    refused_once = """
import errno, subprocess
started = subprocess.Popen
def refuse_once(*args, **kwargs):
    subprocess.Popen = started
    raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
subprocess.Popen = refuse_once
"""
    supervised = Supervised(tmp_path, refused_once + SUPERVISOR)
    try:
        supervised.wait_for_start()
        assert "process not started" in supervised.log()
        supervised.finish_with(0)
        supervised.process.terminate()
        assert supervised.process.wait(120) == 0
    finally:
        supervised.process.kill()
        supervised.process.wait()
