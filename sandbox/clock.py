"""The time of day, moved by the event loop's clock so that it never jumps."""

import asyncio
import time


class Clock:
    """Unix time in seconds, as the ledger writes it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._offset = time.time() - self._loop.time()

    def now(self) -> float:
        """Seconds since 1970, with fractions."""
        return self._offset + self._loop.time()
