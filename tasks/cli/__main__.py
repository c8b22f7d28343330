"""The ``reelqueue`` command, and ``python -m tasks.cli``."""

import gc

from tasks.cli import app


def main() -> None:
    """Run the command line."""
    # The loaded modules stay: the garbage collector need not scan them for each page of rows.
    gc.freeze()
    app(prog_name="reelqueue")


if __name__ == "__main__":
    main()
