"""The journal on any other fsspec file system, such as FTP: weaker than the other two.

These stores have no exclusive creation. Whether an object exists is checked before it is written,
so two worker processes that create the same entry in the same instant can both succeed. Then only
the ledger, which allows one intent for each turn, prevents a second message.
"""

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, TypeVar
from uuid import uuid4

from config.redaction import redact
from worker.faultpoints import faultpoint
from worker.filesystems.remote_connection import RemoteConnection
from worker.journal.stores import UNKNOWN_TIME, JournalFailed, Listed, Stored

T = TypeVar("T")


class OtherJournalStore:
    """Objects as files of an fsspec file system."""

    def __init__(self, url: str) -> None:
        self.address = redact(url.rstrip("/"))
        self._connection = RemoteConnection(url)

    def create(self, key: str, data: bytes, *, point: str) -> bool:
        """Create an object. False if there is one under this key already."""

        def created(fs: Any) -> bool:  # noqa: ANN401 - fsspec has no types
            if self._content(fs, key) is not None:
                return False
            with faultpoint(point):
                self._write(fs, key, data)
            return True

        return self._run("written", created)

    def read(self, key: str) -> Stored | None:
        """Read an object. None if there is none."""
        data = self._run("read", lambda fs: self._content(fs, key))
        return None if data is None else Stored(data, data.hex())

    def put(self, key: str, data: bytes) -> None:
        """Write an object, whether there is one or not."""
        with faultpoint("journal.put"):
            self._run("written", lambda fs: self._write(fs, key, data))

    def replace(self, key: str, data: bytes, version: str, *, point: str) -> bool:
        """Replace an object if it still has this version. False if it has not."""

        def replaced(fs: Any) -> bool:  # noqa: ANN401 - as above
            found = self._content(fs, key)
            if found is None or found.hex() != version:
                return False
            with faultpoint(point):
                self._write(fs, key, data)
            return True

        return self._run("written", replaced)

    def delete(self, key: str) -> None:
        """Delete an object. Deleting it again changes nothing."""

        def deleted(fs: Any) -> None:  # noqa: ANN401 - as above
            path = self._connection.path(key)
            if fs.exists(path):
                fs.rm_file(path)

        self._run("deleted", deleted)

    def folders(self, prefix: str) -> list[str]:
        """List the names of the folders directly under a prefix, in order."""

        def found(fs: Any) -> list[str]:  # noqa: ANN401 - as above
            try:
                entries = fs.ls(self._connection.path(prefix), detail=True)
            except FileNotFoundError:
                return []
            folders = (item["name"] for item in entries if item["type"] == "directory")
            names = (PurePosixPath(folder).name for folder in folders)
            return sorted(name for name in names if not name.startswith("."))

        return self._run("listed", found)

    def listing(self, prefix: str) -> list[Listed]:
        """List all objects below a prefix, however deep, in no order."""

        def found(fs: Any) -> list[Listed]:  # noqa: ANN401 - as above
            folder = self._connection.path(prefix)
            try:
                paths = fs.find(folder)
            except FileNotFoundError:
                return []
            names = (str(path).partition(f"{folder}/")[2] for path in paths)
            # Not every file system reports when a file was written.
            return [
                Listed(name, UNKNOWN_TIME)
                for name in names
                if not name.rpartition("/")[2].startswith(".")
            ]

        return self._run("listed", found)

    def _content(self, fs: Any, key: str) -> bytes | None:  # noqa: ANN401 - as above
        try:
            return bytes(fs.cat_file(self._connection.path(key)))
        except FileNotFoundError:
            return None

    def _write(self, fs: Any, key: str, data: bytes) -> None:  # noqa: ANN401 - as above
        path = PurePosixPath(self._connection.path(key))
        fs.makedirs(str(path.parent), exist_ok=True)
        part = str(path.with_name(f".new-{uuid4().hex}"))
        fs.pipe_file(part, data)
        fs.mv(part, str(path))

    def _run(self, done: str, work: Callable[[Any], T]) -> T:
        try:
            with self._connection.use() as fs:
                return work(fs)
        except Exception as error:
            # Each file system raises exceptions of its own library, without a common class.
            raise JournalFailed(
                f"The payment journal {self.address} cannot be {done}: {redact(str(error))}.",
                "Check that the store can be reached, or set REELQUEUE_JOURNAL_URL to another one.",
            ) from error
