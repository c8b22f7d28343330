"""The ``reelqueue`` command, and ``python -m tasks.cli``."""

# ruff: noqa: E402 - the garbage collector is disabled before the imports.
import gc

# Imports create hardly any garbage, but each collection scans everything imported so far.
# `LazyCommandGroup` enables the collector again after it has loaded the command.
gc.disable()

from tasks.cli import app
from tasks.cli.encoding import make_streams_safe


def main() -> None:
    """Run the command line."""
    make_streams_safe()
    app(prog_name="reelqueue")


if __name__ == "__main__":
    main()
