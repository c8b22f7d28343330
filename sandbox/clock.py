"""Unix time that follows the event loop's clock, so that it never jumps."""

import asyncio
import time


class Clock:
    """A clock of Unix time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._offset = time.time() - self._loop.time()

    def now(self) -> float:
        """Return Unix time in seconds, with fractions."""
        return self._offset + self._loop.time()
