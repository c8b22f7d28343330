"""Names of files that are still being written, in a store's folder for them."""

import math
import time
from typing import Final
from uuid import uuid4

PARTIAL_FOLDER: Final = ".parts"


def partial_file_name() -> str:
    """Make a unique name that contains the current time, because some stores keep no file times."""
    return f"{int(time.time())}-{uuid4().hex}"


def started_at(name: str) -> float:
    """Return when a partial file was started, in seconds since the epoch.

    Returns:
        Infinity if the name is not that of a partial file.
    """
    seconds = name.partition("-")[0]
    return float(seconds) if seconds.isdecimal() else math.inf
