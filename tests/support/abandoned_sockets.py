"""Finds sockets that a test leaves to the garbage collector.

Objects that refer to each other in a cycle are freed at any time later. If the socket is freed
before the client that would close it, Python warns, and whichever test runs then fails. Such a
cycle contains the local variables of all calls that an exception has passed, for example in
`pytest.raises(...) as caught`, or when redis-py finds no server.
"""

import gc
import os
import socket
import stat
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def no_abandoned_sockets() -> Iterator[None]:
    """Demand that the sockets which are opened meanwhile are closed, or that they stay in use.

    Raises:
        AssertionError: The garbage collector would have to close one.
    """
    before = _open_sockets()
    # So that collections look only at what is made from here on.
    gc.freeze()
    try:
        yield
        abandoned = _collect_sockets() if _open_sockets() - before else []
    finally:
        gc.unfreeze()
    assert not abandoned, f"close the clients of these sockets: {abandoned}"


def _open_sockets() -> set[int]:
    """Return the inodes of the sockets that this process has open."""
    inodes = {_inode(int(descriptor.name)) for descriptor in Path("/dev/fd").iterdir()}
    return inodes - {0}


def _inode(descriptor: int) -> int:
    """Return the inode of a socket; 0 for other files, or if the descriptor is closed."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return 0
    return found.st_ino if stat.S_ISSOCK(found.st_mode) else 0


def _collect_sockets() -> list[str]:
    """Run the garbage collector, and describe the sockets that it frees while they are open."""
    abandoned: list[str] = []

    def watch(item: socket.socket) -> object:
        text, inode = repr(item), _inode(item.fileno())

        def on_end(_: object) -> None:
            # Finalizers and other threads close a socket before they free it.
            if inode in _open_sockets():
                abandoned.append(text)

        return weakref.ref(item, on_end)

    # isinstance() would ask proxies for the class of what they stand for.
    watched = [watch(item) for item in gc.get_objects() if issubclass(type(item), socket.socket)]
    gc.collect()
    watched.clear()
    return abandoned
