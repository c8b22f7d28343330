"""Command-line options of the programs among the tests."""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

Options = Mapping[str, tuple[object, str]]
"""Each option's default and explanation, by its name. The type follows from the default, and is a
path if that is None."""


def parse_options(
    program: str, description: str | None, options: Options, argv: Sequence[str] | None = None
) -> Namespace:
    """Read the options of ``python -m PROGRAM`` from ``argv``, or from those of the process."""
    parser = ArgumentParser(prog=f"python -m {program}", description=description)
    for name, (default, explanation) in options.items():
        kind = Path if default is None else type(default)
        shown = "" if "(default:" in explanation else f" (default: {default})"
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=kind, default=default, help=explanation + shown)
    return parser.parse_args(argv)
