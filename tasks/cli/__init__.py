"""The command line: ``reelqueue``. Other programs rely on its exit codes and JSON."""

from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Annotated, Final

import typer

from tasks.cli.commands import (
    batches,
    chat,
    decisions,
    follow,
    operations,
    recover,
    results,
    say,
    starters,
    submit,
)
from tasks.cli.error_handling import ErrorHandlingGroup

app = typer.Typer(
    cls=ErrorHandlingGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_COMMANDS: Final[Mapping[str, Mapping[str, Callable[..., None]]]] = {
    "Submit": {"submit": submit.submit, "say": say.say, "chat": chat.chat},
    "Follow": {
        "status": follow.status,
        "watch": follow.watch,
        "list": follow.list_,
        "results": results.results,
    },
    "Decide": {
        "release": decisions.release,
        "retry": decisions.retry,
        "redo": decisions.redo,
        "cancel": decisions.cancel,
    },
    "Operate": {
        "credits": operations.credits_,
        "doctor": operations.doctor,
        "prune": operations.prune,
        "recover": recover.recover,
        "schema": operations.schema,
    },
}
"""The commands by what people do, in the order of the help."""

for _panel, _commands in _COMMANDS.items():
    for _name, _command in _commands.items():
        app.command(_name, rich_help_panel=_panel)(_command)
app.command(cls=starters.PassThroughCommand, rich_help_panel="Start")(starters.worker)
app.command(cls=starters.PassThroughCommand, rich_help_panel="Start")(starters.flower)
app.command(context_settings=starters.FORWARD_ALL, rich_help_panel="Start")(starters.sandbox)
app.command(context_settings=starters.FORWARD_UNKNOWN, rich_help_panel="Start")(starters.valkey)
app.add_typer(batches.app, name="batch", rich_help_panel="Submit")


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"reelqueue {metadata.version('reelqueue')}")
        raise typer.Exit


@app.callback()
def reelqueue(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Turn still images into short MP4 clips, one or a hundred thousand at a time."""
