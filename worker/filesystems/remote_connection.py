"""The connection to a file system that fsspec reaches over the network, such as FTP or SFTP."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit


class RemoteConnection:
    """A file system that is opened at its first use, and again after an error.

    Transfers block on sockets, which yield under gevent, so they are not offloaded to threads.

    Args:
        url: A URL that fsspec supports.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._fs: Any = None
        self._root = ""

    def open(self) -> None:
        """Open it, unless it is open.

        Raises:
            ValueError: fsspec does not know this kind of URL.
            ImportError: The package that it needs is not installed.
            Exception: The server cannot be reached; each file system raises errors of its own.
        """
        with self._lock:
            self._open()

    def path(self, key: str) -> str:
        """Return the path of a key below the URL. The file system must have been opened before."""
        return f"{self._root.rstrip('/')}/{key}"

    @contextmanager
    def use(self) -> Iterator[Any]:
        """Give the file system; one that is a single connection, to one caller at a time.

        Those are the ones that fsspec does not cache, such as FTP. The server closes a connection
        that is idle for long, so after an error the next caller connects again.
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
