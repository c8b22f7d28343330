"""HTTP clients that are kept open and leased to one caller at a time.

A new client for each caller takes twice the processor time of a kept one, because it connects, and
looks up the host in another thread. One client that many callers share searches all of its
connections at every request.
"""

import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import httpx

IDLE_SECONDS: Final = 10.0
"""A client that was not leased for this long is closed."""


class LeasedClients:
    """The kept clients of one host. There are as many as callers at the same time.

    They are closed by `close_idle`, and when this object is no longer used.

    Args:
        open_http: Opens a client that keeps no cookies: calls of several accounts use it in turn.
    """

    def __init__(self, open_http: Callable[[], httpx.Client]) -> None:
        self._open_http = open_http
        self._idle: deque[tuple[httpx.Client, float]] = deque()
        weakref.finalize(self, _close_older_than, self._idle, float("inf"))

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
        """Close the clients that were not leased for `IDLE_SECONDS`."""
        _close_older_than(self._idle, time.monotonic() - IDLE_SECONDS)


def _close_older_than(idle: deque[tuple[httpx.Client, float]], limit: float) -> None:
    while (client := _pop_older_than(idle, limit)) is not None:
        client.close()


def _pop_older_than(idle: deque[tuple[httpx.Client, float]], limit: float) -> httpx.Client | None:
    """Take out the client that was returned first, if that was before a time; None otherwise."""
    try:
        return idle.popleft()[0] if idle[0][1] < limit else None
    except IndexError:  # none is left, or another thread has just leased the last one
        return None
