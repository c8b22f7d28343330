"""The demonstration's processes, and what it refuses before it starts any."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.demo import demo
from tasks.demo.process_group import ChildEndedError, ProcessGroup

PYTHON = sys.executable

CONNECTED = """
import socket, sys, signal
line = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
line.sendall(b"x")
signal.pause()
"""
"""A child that holds a connection for as long as it lives."""

IGNORES_SIGTERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + CONNECTED

SIGHUP_CASE = pytest.param(
    signal.SIGHUP,
    marks=pytest.mark.skipif(
        signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, reason="run under nohup"
    ),
)

PARENT = """
import os, pathlib, signal, sys
from tasks.demo.process_group import process_group
with process_group(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[1]), os.environ) as group:
    group.start("caller", [sys.executable, "-c", sys.argv[2], sys.argv[3]], grace=60)
    group.wait_until(lambda: False, "an end that comes from outside")
"""


@pytest.fixture
def group(tmp_path: Path) -> Iterator[ProcessGroup]:
    processes = ProcessGroup(tmp_path, tmp_path, os.environ)
    yield processes
    processes.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        yield server


def port_of(listener: socket.socket) -> str:
    return str(listener.getsockname()[1])


def accept_connection(listener: socket.socket) -> socket.socket:
    """Wait for the child to call; its connection ends when it does."""
    line, _ = listener.accept()
    line.settimeout(60)
    assert line.recv(1) == b"x"
    return line


def start_parent(tmp_path: Path, listener: socket.socket, child: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [PYTHON, "-c", PARENT, str(tmp_path), child, port_of(listener)],
        cwd=demo.ROOT,
        stderr=subprocess.DEVNULL,
    )


class TestProcessGroup:
    def test_ends_its_processes(self, group: ProcessGroup, listener: socket.socket) -> None:
        group.start("caller", [PYTHON, "-c", CONNECTED, port_of(listener)], grace=60)
        with accept_connection(listener) as line:
            group.close()
            assert line.recv(1) == b""

    def test_ends_by_force_what_does_not_listen(
        self, group: ProcessGroup, listener: socket.socket
    ) -> None:
        group.start("deaf", [PYTHON, "-c", IGNORES_SIGTERM, port_of(listener)], grace=0.1)
        with accept_connection(listener) as line:
            group.close()
            assert line.recv(1) == b""

    def test_ends_what_its_processes_started(
        self, group: ProcessGroup, listener: socket.socket
    ) -> None:
        nested = f"import subprocess; subprocess.run([{PYTHON!r}, '-c', {CONNECTED!r}, '%s'])"
        group.start("outer", [PYTHON, "-c", nested % port_of(listener)], grace=60)
        with accept_connection(listener) as line:
            group.close()
            assert line.recv(1) == b""

    def test_names_a_process_that_ended_and_shows_its_last_lines(self, group: ProcessGroup) -> None:
        group.start("worker", [PYTHON, "-c", "import sys; sys.exit('no Redis here')"])
        with pytest.raises(ChildEndedError, match=r"«worker» ended with status 1(?s:.*)no Redis"):
            group.wait_until(lambda: False, "nothing")

    def test_a_process_that_ends_during_a_command_ends_the_command(
        self, group: ProcessGroup, listener: socket.socket
    ) -> None:
        group.start("worker", [PYTHON, "-c", "input()"])
        with pytest.raises(ChildEndedError, match="«worker»"):
            group.run([PYTHON, "-c", CONNECTED, port_of(listener)])

    def test_returns_what_a_command_printed(self, group: ProcessGroup) -> None:
        told = group.capture(
            "told", [PYTHON, "-c", "import sys; print('out'); print(1, file=sys.stderr)"]
        )
        assert told == "out\n"

    def test_a_command_that_fails_is_told_with_its_errors(self, group: ProcessGroup) -> None:
        with pytest.raises(ChildEndedError, match=r"status 3(?s:.*)unknown id"):
            group.capture(
                "results",
                [PYTHON, "-c", "import sys; print('unknown id', file=sys.stderr); sys.exit(3)"],
            )

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, SIGHUP_CASE])
    def test_a_signal_to_the_parent_ends_the_children(
        self, tmp_path: Path, listener: socket.socket, number: signal.Signals
    ) -> None:
        parent = start_parent(tmp_path, listener, CONNECTED)
        with accept_connection(listener) as line:
            parent.send_signal(number)
            assert line.recv(1) == b""
        assert parent.wait(60) != 0

    def test_a_second_interrupt_does_not_wait_for_the_grace(
        self, tmp_path: Path, listener: socket.socket
    ) -> None:
        """The child ignores SIGTERM and has a minute; the parent's interrupt is repeated."""
        parent = start_parent(tmp_path, listener, IGNORES_SIGTERM)
        with accept_connection(listener) as line:
            line.settimeout(0.2)
            rounds = 0
            while rounds < 50:
                parent.send_signal(signal.SIGINT)
                rounds += 1
                try:
                    assert line.recv(1) == b""
                    break
                except TimeoutError:
                    continue
        assert parent.wait(60) != 0
        assert rounds < 50

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux offers it")
    def test_a_parent_that_is_killed_takes_its_children_along(
        self, tmp_path: Path, listener: socket.socket
    ) -> None:
        parent = start_parent(tmp_path, listener, IGNORES_SIGTERM)
        with accept_connection(listener) as line:
            parent.kill()
            assert line.recv(1) == b""
        parent.wait(60)


class TestRefusals:
    def test_a_photo_that_is_not_there(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert demo.main(["--folder", str(tmp_path), "no-such.jpg"]) == 1
        assert "There is no file no-such.jpg" in capsys.readouterr().out

    def test_the_real_api_without_photos_costs_nothing(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert demo.main(["--folder", str(tmp_path), "--backend", "cloud"]) == 1
        assert "IMAGES" in capsys.readouterr().out

    def test_two_in_the_same_folder(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with demo._exclusive(demo.DemoPaths(tmp_path)):
            assert demo.main(["--folder", str(tmp_path)]) == 1
        assert "Another run" in capsys.readouterr().out
