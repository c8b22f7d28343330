"""A clock that also runs while the machine is suspended, for the age of an intent to pay."""

import time
from typing import Final

SEND_WITHIN_SECONDS: Final = 10.0
"""The longest time from the first try to create an entry to the first byte of its message.

A sender that was frozen for longer marks its attempt as not sent, because another process may have
decided about the attempt in that time.
"""


def boot_seconds() -> float:
    """Return the seconds since the machine started, with those in suspension on Linux."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
