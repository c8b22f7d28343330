"""The check of a pooled connection before it is used again, without gevent's hub.

redis-py checks each connection that it takes from its pool: if something can be read from it, the
server has closed it, or has sent an unexpected reply. Under gevent the check uses the patched
`select.poll`, which registers the socket with the hub and removes it again, although there is
nothing to wait for. That took almost half of the processor time of a command.
"""

import select
import sys
from functools import cache
from typing import Any, Protocol, cast

from redis import BlockingConnectionPool, Connection


class Poller(Protocol):
    """An object of `select.poll`."""

    def register(self, fd: int, eventmask: int) -> None:
        """Add a file descriptor."""

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        """Return the descriptors that are ready within ``timeout`` ms, and for what."""


class BlockingPool(BlockingConnectionPool):
    """A pool whose callers wait for a connection, and whose check needs no hub."""

    def __init__(self, *, connection_class: Any = Connection, **arguments: Any) -> None:  # noqa: ANN401 - redis-py's
        super().__init__(  # type: ignore[no-untyped-call]
            connection_class=_checked_by_system(connection_class), **arguments
        )


@cache
def _checked_by_system(connection_class: Any) -> type[Any]:  # noqa: ANN401 - a class
    return type(connection_class.__name__, (_Ready, connection_class), {})


class _Ready:
    """A connection that checks with the system's own poll whether something can be read."""

    def can_read(self, timeout: float = 0) -> bool:
        """Whether something can be read, or the server has closed the connection.

        Only the usual case is decided here, that nothing can be read; redis-py decides the others.
        """
        connection = cast("Any", self)
        sock = connection._sock  # noqa: SLF001 - redis-py has no other
        parser = connection._parser  # noqa: SLF001
        reader = getattr(parser, "_reader", None)
        # A TLS socket, and a parser without hiredis, may hold bytes that they have read already.
        if (
            timeout == 0
            and sock is not None
            and reader is not None
            and not hasattr(sock, "pending")
        ):
            poller = _new_poller()
            poller.register(sock.fileno(), select.POLLIN)
            if not reader.has_data() and not poller.poll(0):
                return False
        found: bool = super().can_read(timeout)  # type: ignore[misc]
        return found


def _new_poller() -> Poller:
    """Return a poller of the system, also where gevent has replaced it."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None:
        return cast("Poller", select.poll())
    return cast("Poller", monkey.get_original("select", "poll")())
