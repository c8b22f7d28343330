# ruff: noqa: ARG001 - the parameters document options that Flower parses
"""The command `reelqueue flower`: Flower with one row per job, kept across restarts."""

import os
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from tasks.cli.commands.starters import CELERY, exec_python
from tasks.cli.error_handling import CommandError, ExitCode

ADDRESS: Final = "127.0.0.1"
PORT: Final = 5555
FOLDER: Final = Path("var/flower")
DEFAULTS: Final = {
    "address": ADDRESS,
    "port": str(PORT),
    "tasks_columns": "args,state,runtime,result,exception,uuid,received,worker",
    "max_tasks": "20000",
    "persistent": "true",
    "state_save_interval": "60000",
    "purge_offline_workers": "86400",
}
"""Options of Flower that are set here unless the user sets them."""


def flower(
    context: typer.Context,
    *,
    address: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = ADDRESS,
    port: Annotated[int, typer.Option(metavar="PORT", help="Port to listen on.")] = PORT,
    basic_auth: Annotated[
        str | None,
        typer.Option(
            metavar="USER:PASSWORD",
            help="Require this login. Other users of the machine can read a command line: prefer "
            "FLOWER_BASIC_AUTH.",
            show_default="FLOWER_BASIC_AUTH, or no login",
        ),
    ] = None,
    db: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="File in which Flower keeps its rows across restarts.",
            show_default="var/flower/NAMESPACE/flower",
        ),
    ] = None,
    max_tasks: Annotated[int, typer.Option(metavar="N", help="Rows that Flower keeps.")] = int(
        DEFAULTS["max_tasks"]
    ),
) -> None:
    """Start Flower, a web page that shows workers and jobs: one row per job.

    All options of Flower can be given, as "--name=value" or in the variable FLOWER_NAME. Its
    documentation lists them: https://flower.readthedocs.io/en/latest/config.html.

    To serve other machines, it needs a login: set FLOWER_BASIC_AUTH=USER:PASSWORD. Flower serves
    /metrics and /healthcheck without one.
    """
    # Every command imports this module, and few need the settings.
    from config.settings import get_settings  # noqa: PLC0415

    for name, value in DEFAULTS.items():
        # The environment has the lowest precedence of Flower's sources.
        os.environ.setdefault(f"FLOWER_{name.upper()}", value)
    folder = FOLDER / get_settings().redis.namespace
    os.environ.setdefault("FLOWER_DB", str(folder / "flower"))
    options = _options(context.args)
    if options.persistent:
        _make_folder(Path(options.db).parent)
    _check_login(options)
    _check_address(options)
    exec_python(*CELERY, "flower", *context.args)


def _options(arguments: list[str]) -> Any:  # noqa: ANN401 - Flower has no types
    """Return the options as Flower will read them, from all of its sources.

    Raises:
        CommandError: A value is wrong.
    """
    from flower.command import apply_env_options, apply_options  # noqa: PLC0415 - slow to import
    from tornado.options import Error, options  # noqa: PLC0415

    try:
        apply_env_options()
        apply_options("flower", arguments)
    except (Error, ValueError, KeyError, OSError) as error:
        raise CommandError(f"An option of Flower is wrong: {error}.") from None
    return options


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(
            f"Flower cannot keep its rows in {folder}: {error.strerror}. Name a file in another "
            "folder with --db=FILE, or keep none with --persistent=false.",
            ExitCode.UNAVAILABLE,
        ) from None


def _check_login(options: Any) -> None:  # noqa: ANN401 - Flower has no types
    """Refuse to listen beyond the loopback address without a login.

    Raises:
        CommandError: There is no login.
    """
    if options.unix_socket or options.basic_auth or options.auth or _is_loopback(options.address):
        return
    where = options.address or "all addresses of this machine"
    raise CommandError(
        f"Flower would show all jobs to everybody who reaches {where}. Set a login, "
        "FLOWER_BASIC_AUTH=USER:PASSWORD, or serve this machine alone with --address=127.0.0.1."
    )


def _check_address(options: Any) -> None:  # noqa: ANN401 - Flower has no types
    """Refuse an address or port that Flower could not listen on.

    Raises:
        CommandError: Another process listens there, or there is no such address.
    """
    from tornado.netutil import bind_sockets  # noqa: PLC0415 - slow to import

    if options.unix_socket:
        return
    try:
        for probe in bind_sockets(options.port, address=options.address):
            probe.close()
    except (OSError, UnicodeError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or error
        raise CommandError(
            f"Flower cannot listen on port {options.port} of {options.address}: {why}. Choose "
            "another port with --port=PORT, or another address with --address=HOST.",
            ExitCode.UNAVAILABLE,
        ) from None


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
