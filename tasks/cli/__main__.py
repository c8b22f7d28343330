"""The ``reelqueue`` command, and ``python -m tasks.cli``."""

# ruff: noqa: E402 - the garbage collector stops before the imports.
import gc

# Imports make hardly any garbage, and each collection looks at all that was imported before.
# `LazyCommandGroup` enables it again when it has loaded the command.
gc.disable()

from tasks.cli import app
from tasks.cli.encoding import make_streams_safe


def main() -> None:
    """Run the command line."""
    make_streams_safe()
    app(prog_name="reelqueue")


if __name__ == "__main__":
    main()
