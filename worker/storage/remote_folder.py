"""The files of a store on any file system that fsspec reaches over the network."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from worker.faultpoints import faultpoint
from worker.storage.partial_files import PARTIAL_FOLDER, partial_file_name, started_at


class RemoteFolder:
    """A folder in which each file is written whole before it is moved to its key.

    Transfers block on sockets, which yield under gevent, so they are not offloaded to threads.

    Args:
        url: A URL that fsspec supports.

    Raises:
        ValueError: fsspec does not know this kind of URL.
        ImportError: The package that it needs is not installed.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._connect()

    def exists(self, key: str) -> bool:
        """Return whether there is a file under this key."""
        with self._connection() as fs:
            return _is_file(fs, self._path(key))

    def write(self, source: Path, key: str) -> None:
        """Copy a local file to a key, replacing any file there in one step."""
        path, partial = self._path(key), f"{self._partial}/{partial_file_name()}"
        with self._connection() as fs:
            try:
                with faultpoint("store.write"):
                    fs.put_file(str(source), partial)
                fs.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
                with faultpoint("store.rename"):
                    fs.mv(partial, path)
            except BaseException:
                # A partial file that stays is swept later; the first error is the one to report.
                with suppress(Exception):
                    fs.rm_file(partial)
                raise

    def read(self, key: str, to: Path) -> bool:
        """Copy the file of a key to a local file; False if there is no such file."""
        path = self._path(key)
        with self._connection() as fs:
            if not _is_file(fs, path):
                return False
            fs.get_file(path, str(to))
        return True

    def delete(self, key: str) -> None:
        """Delete the file of a key, if it exists."""
        path = self._path(key)
        with self._connection() as fs:
            try:
                fs.rm_file(path)
            except FileNotFoundError:
                return
            except Exception:
                # Some file systems raise another error for a file that does not exist.
                if fs.exists(path):
                    raise

    def sweep_partial_files(self, before: float) -> int:
        """Delete partial files started before a time; return how many."""
        with self._connection() as fs:
            try:
                found = fs.ls(self._partial, detail=True)
            except FileNotFoundError:
                return 0
            files = [entry["name"] for entry in found if entry["type"] == "file"]
            old = [path for path in files if started_at(PurePosixPath(path).name) < before]
            for path in old:
                fs.rm_file(path)
        return len(old)

    @property
    def _partial(self) -> str:
        return self._path(PARTIAL_FOLDER)

    def _path(self, key: str) -> str:
        return f"{self._root.rstrip('/')}/{key}"

    def _connect(self) -> None:
        self._fs, self._root = fsspec.core.url_to_fs(self._url, use_listings_cache=False)
        self._is_broken = False

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        """Give the file system; one that is a single connection, to one caller at a time.

        Those are the ones that fsspec does not cache, such as FTP. The server closes a connection
        that is idle for long, so after an error the next caller connects again.
        """
        if self._fs.cachable:
            yield self._fs
            return
        with self._lock:
            if self._is_broken:
                self._connect()
            try:
                yield self._fs
            except Exception:
                self._is_broken = True
                raise


def _is_file(fs: Any, path: str) -> bool:  # noqa: ANN401 - fsspec has no types
    try:
        return bool(fs.info(path)["type"] == "file")
    except (FileNotFoundError, NotADirectoryError):
        return False
