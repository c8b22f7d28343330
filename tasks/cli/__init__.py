"""The command line: ``reelqueue``. Other programs rely on its exit codes and JSON."""

from typing import Annotated

import typer

from tasks.cli.commands import flower, starters, worker
from tasks.cli.lazy_commands import LazyCommandGroup

app = typer.Typer(
    cls=LazyCommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command(cls=starters.PassThroughCommand, rich_help_panel="Start")(worker.worker)
app.command(cls=starters.PassThroughCommand, rich_help_panel="Start")(flower.flower)
app.command(context_settings=starters.FORWARD_ALL, rich_help_panel="Start")(starters.sandbox)
app.command(context_settings=starters.FORWARD_UNKNOWN, rich_help_panel="Start")(starters.valkey)


def _print_version(requested: bool) -> None:
    if requested:
        # It is slow to import, and no other command needs it.
        from importlib import metadata  # noqa: PLC0415

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
