"""Command-line options of the programs among the tests."""

import random
import sys
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


def parse_count_and_seed(program: str, description: str | None, *, count: int) -> Namespace:
    """Read how many random inputs ``python -m PROGRAM`` makes, and print their seed."""
    options = parse_options(
        program,
        description,
        {
            "count": (count, "how many inputs to make"),
            "seed": (
                random.SystemRandom().randrange(10**6),
                "the same seed makes the same inputs (default: a random one)",
            ),
        },
    )
    sys.stdout.write(f"seed {options.seed}\n")
    return options
