"""The command ``presets``: what `batch submit --preset` can name."""

from dataclasses import asdict
from typing import Annotated

import typer

from tasks.cli.options import JsonOption
from tasks.cli.output import console, emit, note
from tasks.schema.prompts.presets import PRESETS, Preset, find_preset
from worker.shown_text import on_one_line


def presets(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME|FILE…",
            help="Only these presets. A file is also checked.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List presets: prompt, aspect ratio and seconds for rows without their own.

    A preset of your own is a TOML file with one or more of prompt, aspect and seconds. {column} in
    its prompt stands for the row's value in a column.
    """
    found = [find_preset(name) for name in names] if names else list(PRESETS.values())
    if as_json:
        for preset in found:
            emit(asdict(preset))
        return
    for preset in found:
        _print(preset)
    if not names:
        note(
            "Use one with `reelqueue batch submit FOLDER --preset product`, or a file of your own."
        )


def _print(preset: Preset) -> None:
    seconds = None if preset.seconds is None else f"{preset.seconds:g} seconds"
    out = console()
    out.print(preset.name, style="bold")
    if preset.aspect or seconds:
        out.print(f"  {', '.join(filter(None, (preset.aspect, seconds)))}")
    if preset.prompt is not None:
        out.print(f"  {on_one_line(preset.prompt)}")
