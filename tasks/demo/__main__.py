"""``python -m tasks.demo``."""

import sys

from tasks.demo.demo import main

if __name__ == "__main__":
    sys.exit(main())
