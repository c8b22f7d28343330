"""Waiting for conditions, never for time to pass."""

import socket
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str, limit: float = 60) -> T:
    """Ask until the answer is true, and return it.

    Raises:
        AssertionError: The limit (seconds) is over; the message says what was waited for.
    """
    pause = threading.Event()
    end = time.monotonic() + limit
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < end, f"waited {limit:.0f} s for {what}"
        pause.wait(0.02)


def listens(port: int) -> bool:
    """Whether something accepts connections on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
