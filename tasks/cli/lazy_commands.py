"""Commands whose modules are imported only when they are called, so that each starts quickly."""

import gc
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import typer
from typer.main import get_command, get_group

from tasks.cli.error_handling import ErrorHandlingGroup

_PANELS: Final[Mapping[str, Mapping[str, str]]] = {
    "Submit": {
        "submit": "submit:submit",
        "say": "say:say",
        "chat": "chat:chat",
        "batch": "batches:app",
        "presets": "presets:presets",
    },
    "Follow": {
        "status": "follow:status",
        "watch": "follow:watch",
        "list": "follow:list_",
        "results": "results:results",
    },
    "Decide": {
        "release": "decisions:release",
        "retry": "decisions:retry",
        "redo": "decisions:redo",
        "cancel": "decisions:cancel",
    },
    "Operate": {
        "credits": "operations:credits_",
        "doctor": "operations:doctor",
        "prune": "operations:prune",
        "recover": "recover:recover",
        "schema": "operations:schema",
    },
}
"""The commands in the order of the help: panel → command → module and name in it."""

_COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    name: (panel, place) for panel, commands in _PANELS.items() for name, place in commands.items()
}


class LazyCommandGroup(ErrorHandlingGroup):
    """The commands of `_PANELS`, loaded when they are called, then the registered ones."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - typer's signature
        """Return the names of all commands, in the order of the help."""
        return [*_COMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - typer's signature
        """Return a command; None if there is none of this name."""
        command = _load(cmd_name) if cmd_name in _COMMANDS else super().get_command(ctx, cmd_name)
        if not gc.isenabled():
            # The modules are loaded and stay in memory: no collection needs to scan them again.
            gc.freeze()
            gc.enable()
        return command


def _load(name: str) -> Any:  # noqa: ANN401 - typer's class of a command is private
    panel, place = _COMMANDS[name]
    module, attribute = place.split(":")
    found = getattr(import_module(f"tasks.cli.commands.{module}"), attribute)
    app = typer.Typer(rich_markup_mode="markdown", add_completion=False)
    if isinstance(found, typer.Typer):
        command: Any = get_group(found)
        command.name = name
        command.rich_help_panel = panel
        return command
    app.command(name, rich_help_panel=panel)(found)
    return get_command(app)
