"""Runs commands on terminals, pipes and devices of many kinds, each in a forked process.

A process imports the command line once, in a locale that does not exist, and forks for each
command: `python -m tests.support.terminals` reads a command per line and writes its result.
"""

import fcntl
import importlib
import io
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

ROOT: Final = Path(__file__).resolve().parents[2]
Sink = Literal["file", "terminal", "broken pipe", "full disk", "closed"]
SECONDS: Final = 120
_IMPORTED_LATE: Final = (
    *("tasks.cli.checks.doctor_checks", "tasks.cli.error_messages", "worker.runtime.runtime"),
    *("worker.media.image_headers", "worker.media.images", "rich.live", "rich.markdown"),
    *("typer.rich_utils", "worker.telemetry.start_blockage"),
)
"""What commands import only when they need it, which takes long."""


@dataclass(frozen=True)
class Terminal:
    """Where a command writes, and what it knows of it.

    Attributes:
        output: What standard output is.
        errors: What standard error is.
        encoding: The encoding of both.
        columns: The width of a terminal.
        env: Further variables of the environment.
    """

    output: Sink = "file"
    errors: Sink = "file"
    encoding: str = "utf-8"
    columns: int = 80
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """How a command has ended: its exit status, what it wrote, and its traceback if it crashed."""

    code: int
    out: bytes
    err: bytes


class Terminals:
    """The process that forks."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=ROOT,
            env={**os.environ, "LC_ALL": "xx_YY", "PYTHONUTF8": "1", "PYTHONCOERCECLOCALE": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def run(
        self, arguments: Sequence[str], terminal: Terminal, folder: Path, env: Mapping[str, str]
    ) -> Ended:
        """Run a command in a folder."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"arguments": arguments, "terminal": asdict(terminal), "folder": str(folder)}
        self._process.stdin.write(json.dumps({**asked, "env": dict(env)}) + "\n")
        self._process.stdin.flush()
        found = json.loads(self._process.stdout.readline())
        return Ended(found["code"], *(found[name].encode("latin-1") for name in ("out", "err")))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def _serve() -> None:
    _import_all_commands()
    for line in sys.stdin:
        asked = json.loads(line)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            terminal = Terminal(**asked["terminal"])
            master, slave = pty.openpty()
            size = struct.pack("HHHH", 24, terminal.columns, 0, 0)
            fcntl.ioctl(slave, termios.TIOCSWINSZ, size)
            child = os.fork()
            if not child:
                os.close(master)
                _run(asked, terminal, out.fileno(), err.fileno(), slave)
            os.close(slave)
            shown = _read_to_end(master)
            _, status = os.waitpid(child, 0)
            out.seek(0)
            err.seek(0)
            texts = {"out": out.read() or shown, "err": err.read()}
            found = {name: text.decode("latin-1") for name, text in texts.items()}
            answer = json.dumps({"code": os.waitstatus_to_exitcode(status), **found})
            sys.stdout.write(f"{answer}\n")
            sys.stdout.flush()


def _import_all_commands() -> None:
    """Import what the forked processes need, once."""
    import typer  # noqa: PLC0415 - not in the process of the tests

    from tasks.cli import app  # noqa: PLC0415 - as above

    root: Any = typer.main.get_command(app)
    for name in root.list_commands(None):
        root.get_command(None, name)
    for name in _IMPORTED_LATE:
        importlib.import_module(name)


def _read_to_end(master: int) -> bytes:
    """Read what is shown on a terminal, until no process has it open any more."""
    parts = []
    with suppress(OSError):
        while part := os.read(master, 65536):
            parts.append(part)
    os.close(master)
    return b"".join(parts)


def _run(asked: Mapping[str, Any], terminal: Terminal, out: int, err: int, slave: int) -> NoReturn:
    """Run a command in this forked process, and end it."""
    code = 99
    try:
        signal.alarm(SECONDS)
        # As the interpreter does at its start, so that a closed pipe is an error.
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        os.chdir(asked["folder"])
        os.environ.clear()
        os.environ.update({**asked["env"], **terminal.env})
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = _stream(2, terminal.errors, err, slave, terminal.encoding)
        sys.stdout = _stream(1, terminal.output, out, slave, terminal.encoding)
        os.close(slave)
        code = _main(asked["arguments"])
    except BaseException:  # noqa: BLE001 - reported to the test
        os.write(err, traceback.format_exc().encode(errors="replace"))
    finally:
        os._exit(code)


def _stream(number: int, sink: Sink, file: int, slave: int, encoding: str) -> Any:
    """Make a standard stream, as the interpreter does at its start."""
    if sink == "closed":
        os.close(number)
        return None
    match sink:
        case "terminal":
            source = slave
        case "full disk":
            source = os.open("/dev/full", os.O_WRONLY)
        case "broken pipe":
            reader, source = os.pipe()
            os.close(reader)
        case _:
            source = file
    os.dup2(source, number)
    binary = open(number, "wb", closefd=False)  # noqa: SIM115 - a standard stream
    errors = "strict" if number == 1 else "backslashreplace"
    is_line_buffered = number == 2 or sink == "terminal"
    return io.TextIOWrapper(binary, encoding, errors, line_buffering=is_line_buffered)


def _main(arguments: Sequence[str]) -> int:
    """Run the command line to the end of the interpreter, and return the exit status."""
    from tasks.cli.__main__ import main  # noqa: PLC0415 - imported by the parent

    sys.argv = ["reelqueue", *arguments]
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    # What the interpreter does at its end; an error would be reported, with status 120.
    if sys.stdout is not None:
        sys.stdout.flush()
    return code


if __name__ == "__main__":
    _serve()
