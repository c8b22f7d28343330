"""The ``reelqueue`` command, and ``python -m tasks.cli``."""

import gc

from tasks.cli import app


def main() -> None:
    """Run the command that was asked for."""
    # What was loaded stays: the collector need not go through it again for each page of rows.
    gc.freeze()
    app(prog_name="reelqueue")


if __name__ == "__main__":
    main()
