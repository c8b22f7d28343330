"""The connection to a file system that fsspec reaches over the network, such as FTP or SFTP."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit


class RemoteConnection:
    """A connection to a file system, which is opened at its first use, and again after an error.

    Transfers wait for sockets, which lets other greenlets run, so they need no native thread.

    Args:
        url: A URL that fsspec supports.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._fs: Any = None
        self._root = ""

    def open(self) -> None:
        """Open the connection, unless it is open.

        Raises:
            ValueError: fsspec does not support this kind of URL.
            ImportError: The package that it needs is not installed.
            Exception: The server cannot be reached. The type depends on the file system.
        """
        with self._lock:
            self._open()

    def path(self, key: str) -> str:
        """Return the path of a key below the URL. The connection must have been opened before."""
        return f"{self._root.rstrip('/')}/{key}"

    @contextmanager
    def use(self) -> Iterator[Any]:
        """Yield the file system.

        File systems that fsspec does not cache, such as FTP, are a single connection, which one
        caller uses at a time. After an error the next caller connects again, because a server
        closes a connection that is idle for long.
        """
        self.open()
        if self._fs.cachable:
            yield self._fs
            return
        with self._lock:
            self._open()
            try:
                yield self._fs
            except Exception:
                self._fs = None
                raise

    def _open(self) -> None:
        if self._fs is None:
            import fsspec  # noqa: PLC0415 - slow to import, and most stores are local folders

            fs, root = fsspec.core.url_to_fs(self._url, use_listings_cache=False)
            if fs.async_impl:
                # Under gevent, each call would end in "Calling sync() from within a running loop".
                scheme = urlsplit(self._url).scheme
                raise ValueError(f"stores at {scheme}:// cannot be used")
            self._fs, self._root = fs, str(root)
