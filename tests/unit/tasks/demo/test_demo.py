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
from tasks.demo.process_group import ChildEndedError, Household

PYTHON = sys.executable

CALLER = """
import socket, sys, signal
line = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
line.sendall(b"x")
signal.pause()
"""
"""A child that holds a connection for as long as it lives."""

DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + CALLER

HANG_UP = pytest.param(
    signal.SIGHUP,
    marks=pytest.mark.skipif(
        signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, reason="run under nohup"
    ),
)

PARENT = """
import os, pathlib, signal, sys
from tasks.demo.process_group import household
with household(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[1]), os.environ) as house:
    house.start("caller", [sys.executable, "-c", sys.argv[2], sys.argv[3]], grace=60)
    house.wait_until(lambda: False, "an end that comes from outside")
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Household]:
    household = Household(tmp_path, tmp_path, os.environ)
    yield household
    household.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        yield server


def port_of(listener: socket.socket) -> str:
    return str(listener.getsockname()[1])


def answer_call(listener: socket.socket) -> socket.socket:
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


class TestHousehold:
    def test_ends_its_processes(self, house: Household, listener: socket.socket) -> None:
        house.start("caller", [PYTHON, "-c", CALLER, port_of(listener)], grace=60)
        with answer_call(listener) as line:
            house.close()
            assert line.recv(1) == b""

    def test_ends_by_force_what_does_not_listen(
        self, house: Household, listener: socket.socket
    ) -> None:
        house.start("deaf", [PYTHON, "-c", DEAF, port_of(listener)], grace=0.1)
        with answer_call(listener) as line:
            house.close()
            assert line.recv(1) == b""

    def test_ends_what_its_processes_started(
        self, house: Household, listener: socket.socket
    ) -> None:
        nested = f"import subprocess; subprocess.run([{PYTHON!r}, '-c', {CALLER!r}, '%s'])"
        house.start("outer", [PYTHON, "-c", nested % port_of(listener)], grace=60)
        with answer_call(listener) as line:
            house.close()
            assert line.recv(1) == b""

    def test_names_a_process_that_ended_and_shows_its_last_lines(self, house: Household) -> None:
        house.start("worker", [PYTHON, "-c", "import sys; sys.exit('no Redis here')"])
        with pytest.raises(ChildEndedError, match=r"«worker» ended with status 1(?s:.*)no Redis"):
            house.wait_until(lambda: False, "nothing")

    def test_a_process_that_ends_during_a_command_ends_the_command(
        self, house: Household, listener: socket.socket
    ) -> None:
        house.start("worker", [PYTHON, "-c", "input()"])
        with pytest.raises(ChildEndedError, match="«worker»"):
            house.show([PYTHON, "-c", CALLER, port_of(listener)])

    def test_returns_what_a_command_printed(self, house: Household) -> None:
        told = house.ask(
            "told", [PYTHON, "-c", "import sys; print('out'); print(1, file=sys.stderr)"]
        )
        assert told == "out\n"

    def test_a_command_that_fails_is_told_with_its_errors(self, house: Household) -> None:
        with pytest.raises(ChildEndedError, match=r"status 3(?s:.*)unknown id"):
            house.ask(
                "results",
                [PYTHON, "-c", "import sys; print('unknown id', file=sys.stderr); sys.exit(3)"],
            )

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, HANG_UP])
    def test_a_signal_to_the_parent_ends_the_children(
        self, tmp_path: Path, listener: socket.socket, number: signal.Signals
    ) -> None:
        parent = start_parent(tmp_path, listener, CALLER)
        with answer_call(listener) as line:
            parent.send_signal(number)
            assert line.recv(1) == b""
        assert parent.wait(60) != 0

    def test_a_second_interrupt_does_not_wait_for_the_grace(
        self, tmp_path: Path, listener: socket.socket
    ) -> None:
        """The child ignores SIGTERM and has a minute; the parent's interrupt is repeated."""
        parent = start_parent(tmp_path, listener, DEAF)
        with answer_call(listener) as line:
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
        parent = start_parent(tmp_path, listener, DEAF)
        with answer_call(listener) as line:
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
        with demo._alone_in(demo.Place(tmp_path)):
            assert demo.main(["--folder", str(tmp_path)]) == 1
        assert "Another run" in capsys.readouterr().out
