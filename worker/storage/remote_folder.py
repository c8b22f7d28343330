"""The files of a store on any file system that fsspec reaches over the network."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, Final

from worker.faultpoints import faultpoint
from worker.filesystems.remote_connection import RemoteConnection
from worker.storage.partial_files import PARTIAL_FOLDER, partial_file_name, started_at

_LOCK_TRIES: Final = 3


class RemoteFolder:
    """A folder in which each file is written completely before it is moved to its key.

    Args:
        url: A URL that fsspec supports.

    Raises:
        ValueError: fsspec does not support this kind of URL.
        ImportError: The package that it needs is not installed.
    """

    def __init__(self, url: str) -> None:
        self._connection = RemoteConnection(url)
        self._connection.open()

    def exists(self, key: str) -> bool:
        """Return whether there is a file under this key."""
        with self._connection.use() as fs:
            return _is_file(fs, self._connection.path(key))

    def write(self, source: Path, key: str) -> None:
        """Copy a local file to a key, replacing any file there in one step."""
        with self._connection.use() as fs, self._partial_copy(fs, source, key) as partial:
            fs.mv(partial, self._connection.path(key))

    def create(self, source: Path, key: str) -> bool:
        """Copy a local file to a key that no file has; return False if the key is taken.

        Most of these file systems can create folders exclusively, but not files. So a folder is
        created as a lock on the key. While it exists, the key counts as taken, also if the process
        that created it was killed.
        """
        path = self._connection.path(key)
        lock = f"{self._partial}/name-{hashlib.sha256(key.encode()).hexdigest()}"
        with self._connection.use() as fs:
            if _exists(fs, path):
                return False
            with self._partial_copy(fs, source, key) as partial:
                if not _make_lock(fs, lock, path):
                    fs.rm_file(partial)
                    return False
                try:
                    is_free = not _exists(fs, path)
                    if is_free:
                        fs.mv(partial, path)
                    else:
                        fs.rm_file(partial)
                finally:
                    with suppress(Exception):
                        fs.rmdir(lock)
        return is_free

    @contextmanager
    def _partial_copy(self, fs: Any, source: Path, key: str) -> Iterator[str]:  # noqa: ANN401
        """Yield the path of a complete copy, which the block moves to its key or deletes."""
        partial = f"{self._partial}/{partial_file_name()}"
        try:
            with faultpoint("store.write"):
                _make_folder(fs, self._partial)
                fs.put_file(str(source), partial)
            _make_folder(fs, str(PurePosixPath(self._connection.path(key)).parent))
            with faultpoint("store.rename"):
                yield partial
        except BaseException:
            # A copy that cannot be deleted is swept later. The first error is the one to report.
            with suppress(Exception):
                fs.rm_file(partial)
            raise

    def read(self, key: str, to: Path) -> bool:
        """Copy the file of a key to a local file; False if there is no such file."""
        path = self._connection.path(key)
        with self._connection.use() as fs:
            if not _is_file(fs, path):
                return False
            fs.get_file(path, str(to))
        return True

    def delete(self, key: str) -> None:
        """Delete the file of a key, if it exists."""
        path = self._connection.path(key)
        with self._connection.use() as fs:
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
        with self._connection.use() as fs:
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
        return self._connection.path(PARTIAL_FOLDER)


def _make_folder(fs: Any, path: str) -> None:  # noqa: ANN401 - fsspec has no types
    """Make a folder, unless another process makes it at the same time."""
    try:
        fs.makedirs(path, exist_ok=True)
    except Exception:
        if not _exists(fs, path):
            raise


def _make_lock(fs: Any, lock: str, path: str) -> bool:  # noqa: ANN401 - as above
    """Make the folder that locks a path; False if another writer has it or has written the file."""
    for tries_left in reversed(range(_LOCK_TRIES)):
        try:
            fs.mkdir(lock, create_parents=False)
        except Exception:
            # The error for a folder that exists differs between file systems. If neither the file
            # nor the folder exists, another writer has failed and released the lock.
            if _exists(fs, path) or _exists(fs, lock):
                return False
            if not tries_left:
                raise
        else:
            break
    return True


def _exists(fs: Any, path: str) -> bool:  # noqa: ANN401 - fsspec has no types
    """Return whether there is a file or a folder. fsspec's own `exists` hides errors."""
    try:
        fs.info(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _is_file(fs: Any, path: str) -> bool:  # noqa: ANN401 - fsspec has no types
    try:
        return bool(fs.info(path)["type"] == "file")
    except (FileNotFoundError, NotADirectoryError):
        return False
