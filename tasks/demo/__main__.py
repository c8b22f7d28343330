"""``python -m tasks.demo``."""

import io
import sys

from tasks.demo.demo import main

if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files may have characters that the terminal cannot show.
        sys.stdout.reconfigure(errors="replace")
    sys.exit(main())
