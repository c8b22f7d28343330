"""A clock that also runs while the machine is suspended, for the age of an intent to pay."""

import time
from typing import Final

SEND_WITHIN_SECONDS: Final = 10.0
"""From the first try to create an entry to the first byte of its message, at most.

A sender that was frozen longer marks its attempt as not sent: meanwhile somebody else may have
decided about it.
"""


def boot_seconds() -> float:
    """Seconds since the machine started, suspension included where the system tells it."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
