"""The ``reelqueue`` command, and ``python -m tasks.cli``."""

import gc

from tasks.cli import app
from tasks.cli.encoding import make_streams_safe


def main() -> None:
    """Run the command line."""
    make_streams_safe()
    # The loaded modules stay: the garbage collector need not scan them for each page of rows.
    gc.freeze()
    app(prog_name="reelqueue")


if __name__ == "__main__":
    main()
