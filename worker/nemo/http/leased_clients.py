"""HTTP clients that are kept open and leased for one call at a time.

A new client for each call costs twice as much as a kept one, and one client that many calls share
searches all of its connections at every request.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import httpx

IDLE_SECONDS: Final = 10.0
"""After which a client that nobody leased is closed."""


class LeasedClients:
    """The kept clients of one host. There are as many as calls were made at the same time.

    Args:
        open_http: Opens a client that keeps no cookies: calls of several accounts use it in turn.
    """

    def __init__(self, open_http: Callable[[], httpx.Client]) -> None:
        self._open_http = open_http
        self._idle: deque[tuple[httpx.Client, float]] = deque()

    @contextmanager
    def lease(self) -> Iterator[httpx.Client]:
        """Lease the client that was used last, or a new one if all are in use."""
        try:
            client, _ = self._idle.pop()
        except IndexError:
            client = self._open_http()
        try:
            yield client
        finally:
            self._idle.append((client, time.monotonic()))

    def close_idle(self) -> None:
        """Close the clients that nobody has leased for some time."""
        self._close_older_than(time.monotonic() - IDLE_SECONDS)

    def close(self) -> None:
        """Close all clients that are not leased."""
        self._close_older_than(float("inf"))

    def _close_older_than(self, limit: float) -> None:
        # The clients at the left end were returned first. Others may lease the last one meanwhile.
        while self._idle and self._idle[0][1] < limit:
            try:
                client, _ = self._idle.popleft()
            except IndexError:
                return
            client.close()
