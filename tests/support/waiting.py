"""Waits for conditions, and free ports."""

import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Final, TypeVar

T = TypeVar("T")

UNASSIGNED_PORTS: Final = range(15_000, 32_768)
"""Below the ports that Linux and macOS assign by themselves."""


def wait_until(
    condition: Callable[[], T],
    what: str,
    limit: float = 120,
    explain: Callable[[], object] = lambda: "",
) -> T:
    """Poll a condition until it is true, and return its value.

    Args:
        condition: Called every 20 ms at first, and ten times a second after two seconds.
        what: What is waited for, as the end of "waited 120 s for ...".
        limit: Seconds.
        explain: Called when the limit is over: what the message says besides.

    Raises:
        AssertionError: The limit is over.
    """
    pause = threading.Event()
    began = time.monotonic()
    while True:
        answer = condition()
        if answer:
            return answer
        waited = time.monotonic() - began
        assert waited < limit, f"waited {limit:.0f} s for {what} {explain()}"
        # Polling takes processor time from what is waited for.
        pause.wait(min(0.1, 0.02 + waited / 25))


def listens(port: int) -> bool:
    """Whether something accepts connections on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return a free loopback port outside of the range from which the kernel assigns ports.

    A server may take seconds until it listens on the port, and may listen on it again after a
    restart. The kernel could assign a port of its range to another process meanwhile.
    """
    for port in random.SystemRandom().sample(UNASSIGNED_PORTS, 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("none of 100 ports is free")


@cache
def refusing_port() -> int:
    """A loopback port that refuses connections and that no server gets during the tests."""
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    port = int(holder.getsockname()[1])
    # It stays open until the process ends.
    holder.detach()
    return port
