"""Connects to a host that has several addresses, some of which may not answer.

Source: RFC 8305, "Happy Eyeballs Version 2". IPv6 and IPv4 addresses are tried alternately, each at
most 0.25 s after the previous one, and the first connection is used. Without this, a broken IPv6
route would use up the time of the whole request.
"""

import ipaddress
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain, zip_longest
from typing import Final

MAX_ADDRESSES: Final = 6
STAGGER_SECONDS: Final = 0.25
"""The time after which the next address is tried as well."""

SocketOption = tuple[int, int, int | bytes | bytearray] | tuple[int, int, None, int]


def alternate_families(addresses: Iterable[str]) -> list[str]:
    """Sort addresses so that IPv6 and IPv4 alternate, beginning with the first one's family."""
    families: dict[int, list[str]] = {}
    for address in addresses:
        families.setdefault(ipaddress.ip_address(address).version, []).append(address)
    turns = zip_longest(*families.values())
    return [address for address in chain.from_iterable(turns) if address is not None]


def connect_first(
    addresses: Sequence[str], port: int, seconds: float, options: Iterable[SocketOption] = ()
) -> socket.socket:
    """Connect to the first of these addresses that accepts.

    Args:
        addresses: The addresses of one host, in the order in which they are tried.
        port: The port.
        seconds: How long all of them together may take.
        options: Options of the sockets.

    Returns:
        A connected socket that blocks.

    Raises:
        TimeoutError: None accepted in time.
        OSError: All of them refused; the error of the last one.
    """
    race = _Race(deque(addresses), port, list(options))
    try:
        return race.run(time.monotonic() + seconds)
    finally:
        race.close()


class _Race:
    """The connections that are being made to the addresses of one host."""

    def __init__(self, waiting: deque[str], port: int, options: list[SocketOption]) -> None:
        self._waiting = waiting
        self._port = port
        self._options = options
        self._open: dict[socket.socket, str] = {}
        self._error = OSError("the host has no address")
        # Gevent replaces this class by one that lets other greenlets run during a wait.
        self._selector = selectors.DefaultSelector()

    def run(self, end: float) -> socket.socket:
        """Start one connection after another until one is established."""
        while self._waiting or self._open:
            if self._waiting:
                self._start(self._waiting.popleft())
            now = time.monotonic()
            if now >= end:
                break
            until = min(end, now + STAGGER_SECONDS) if self._waiting else end
            winner = self._wait(until)
            if winner is not None:
                return winner
        if self._open or self._waiting:
            names = ", ".join([*self._open.values(), *self._waiting])
            raise TimeoutError(f"no answer from {names}")
        raise self._error

    def close(self) -> None:
        """Close all connections that are not established yet."""
        for loser in self._open:
            loser.close()
        self._selector.close()

    def _start(self, address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            opened = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:  # this machine has no IPv6, or too many open files
            self._error = error
            return
        try:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for option in self._options:
                opened.setsockopt(*option)
            opened.setblocking(False)
            with suppress(BlockingIOError):
                opened.connect((address, self._port))
            self._selector.register(opened, selectors.EVENT_WRITE)
        except OSError as error:
            self._error = error
            opened.close()
        else:
            self._open[opened] = address

    def _wait(self, until: float) -> socket.socket | None:
        """Return the first established connection; None if the next address should be tried."""
        while self._open:
            left = until - time.monotonic()
            if left <= 0:
                return None
            for key, _ in self._selector.select(left):
                found: socket.socket = key.fileobj  # type: ignore[assignment]
                self._selector.unregister(found)
                del self._open[found]
                number = found.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not number:
                    found.setblocking(True)
                    return found
                found.close()
                self._error = OSError(number, os.strerror(number))
                if self._waiting:
                    return None
        return None
