"""Process groups: starting, watching and stopping child processes."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.demo.process_group import Child, ChildEndedError, Interrupts, ProcessGroup
from tests.support.processes import ROOT

PYTHON = sys.executable

CONNECTED = """
import socket, sys, signal
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
connection.sendall(b"x")
signal.pause()
"""
"""A child that keeps a connection open until it ends."""

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
    group.start("child", [sys.executable, "-c", sys.argv[2], sys.argv[3]], grace=60)
    group.wait_until(lambda: False, "a signal")
"""


@pytest.fixture
def group(tmp_path: Path) -> Iterator[ProcessGroup]:
    processes = ProcessGroup(tmp_path, tmp_path, os.environ)
    yield processes
    processes.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(120)
        yield server


def port_of(listener: socket.socket) -> str:
    return str(listener.getsockname()[1])


def accept_connection(listener: socket.socket) -> socket.socket:
    """Wait for a child to connect. The connection is closed when the child ends."""
    connection, _ = listener.accept()
    connection.settimeout(60)
    assert connection.recv(1) == b"x"
    return connection


def start_parent(tmp_path: Path, listener: socket.socket, child: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [PYTHON, "-c", PARENT, str(tmp_path), child, port_of(listener)],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )


def test_close_ends_the_processes(group: ProcessGroup, listener: socket.socket) -> None:
    group.start("child", [PYTHON, "-c", CONNECTED, port_of(listener)], grace=60)
    with accept_connection(listener) as connection:
        group.close()
        assert connection.recv(1) == b""


def test_close_kills_a_process_that_ignores_sigterm(
    group: ProcessGroup, listener: socket.socket
) -> None:
    group.start("child", [PYTHON, "-c", IGNORES_SIGTERM, port_of(listener)], grace=0.1)
    with accept_connection(listener) as connection:
        group.close()
        assert connection.recv(1) == b""


def test_close_ends_the_children_of_the_processes(
    group: ProcessGroup, listener: socket.socket
) -> None:
    nested = f"import subprocess; subprocess.run([{PYTHON!r}, '-c', {CONNECTED!r}, '%s'])"
    group.start("outer", [PYTHON, "-c", nested % port_of(listener)], grace=60)
    with accept_connection(listener) as connection:
        group.close()
        assert connection.recv(1) == b""


def test_the_error_for_an_ended_process_quotes_its_log(group: ProcessGroup) -> None:
    group.start("worker", [PYTHON, "-c", "import sys; sys.exit('no Redis here')"])
    with pytest.raises(ChildEndedError, match=r'"worker" ended with status 1(?s:.*)no Redis'):
        group.wait_until(lambda: False, "the end")


def test_a_command_is_stopped_when_another_process_ends(
    group: ProcessGroup, listener: socket.socket
) -> None:
    group.start("worker", [PYTHON, "-c", "input()"])
    with pytest.raises(ChildEndedError, match='"worker"'):
        group.run([PYTHON, "-c", CONNECTED, port_of(listener)])


def test_capture_returns_the_standard_output(group: ProcessGroup) -> None:
    output = group.capture(
        "print", [PYTHON, "-c", "import sys; print('out'); print(1, file=sys.stderr)"]
    )
    assert output == "out\n"


def test_the_error_for_a_failed_command_quotes_its_log(group: ProcessGroup) -> None:
    with pytest.raises(ChildEndedError, match=r"status 3(?s:.*)unknown id"):
        group.capture(
            "results",
            [PYTHON, "-c", "import sys; print('unknown id', file=sys.stderr); sys.exit(3)"],
        )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, SIGHUP_CASE])
def test_a_signal_to_the_parent_ends_its_processes(
    tmp_path: Path, listener: socket.socket, number: signal.Signals
) -> None:
    parent = start_parent(tmp_path, listener, CONNECTED)
    with accept_connection(listener) as connection:
        parent.send_signal(number)
        assert connection.recv(1) == b""
    assert parent.wait(120) != 0


def test_a_second_interrupt_kills_the_processes_immediately(
    tmp_path: Path, listener: socket.socket
) -> None:
    """The child ignores SIGTERM and has a minute to stop. The parent is interrupted repeatedly."""
    parent = start_parent(tmp_path, listener, IGNORES_SIGTERM)
    with accept_connection(listener) as connection:
        connection.settimeout(0.2)
        interrupts = 0
        while interrupts < 150:
            parent.send_signal(signal.SIGINT)
            interrupts += 1
            try:
                assert connection.recv(1) == b""
                break
            except TimeoutError:
                continue
    assert parent.wait(120) != 0
    assert interrupts < 150


class InterruptedProcess(subprocess.Popen[bytes]):
    """A process that interrupts its parent when the parent first asks for its status."""

    has_interrupted = False
    looks = 0

    def poll(self) -> int | None:
        if not self.has_interrupted:
            self.has_interrupted = True
            signal.raise_signal(signal.SIGINT)
        status = super().poll()
        self.looks += 1
        return status


def test_an_interrupt_lets_the_look_at_a_process_end_first() -> None:
    """Otherwise the lock of the process could stay locked, and waiting for it would never end."""
    interrupts = Interrupts()
    process = InterruptedProcess([PYTHON, "-c", "import signal; signal.pause()"])
    child = Child("sleeper", process, None, 60, interrupts)
    before = signal.signal(signal.SIGINT, interrupts.handle)
    try:
        with pytest.raises(KeyboardInterrupt):
            _ = child.alive
        assert process.looks == 1
        assert child.alive
    finally:
        signal.signal(signal.SIGINT, before)
        process.kill()
        process.wait(120)


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
def test_killing_the_parent_kills_its_processes(tmp_path: Path, listener: socket.socket) -> None:
    parent = start_parent(tmp_path, listener, IGNORES_SIGTERM)
    with accept_connection(listener) as connection:
        parent.kill()
        assert connection.recv(1) == b""
    parent.wait(120)
