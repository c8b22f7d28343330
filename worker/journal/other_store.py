"""The journal on any other fsspec file system, such as FTP: weaker than the other two.

These stores have no exclusive creation. Whether an object exists is checked before it is written,
so two workers that create the same entry in the same instant can both succeed. The ledger's own
one-shot intent is then the only fence between them.
"""

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any, TypeVar
from uuid import uuid4

import fsspec

from config.redaction import redact
from worker.faultpoints import faultpoint
from worker.journal.stores import UNKNOWN_TIME, JournalFailed, Listed, Stored

T = TypeVar("T")


class OtherJournalStore:
    """Objects as files of an fsspec file system."""

    def __init__(self, url: str) -> None:
        self.address = redact(url.rstrip("/"))
        self._url = url
        self._fs: Any = None
        self._root = ""

    def create(self, key: str, data: bytes, *, point: str) -> bool:
        """Create an object. False if there is one under this key already."""
        if self.read(key) is not None:
            return False
        with faultpoint(point):
            self._run("written", lambda: self._write(key, data))
        return True

    def read(self, key: str) -> Stored | None:
        """Read an object. None if there is none."""

        def content() -> Stored | None:
            try:
                data = bytes(self._fs.cat_file(f"{self._root}/{key}"))
            except FileNotFoundError:
                return None
            return Stored(data, data.hex())

        return self._run("read", content)

    def put(self, key: str, data: bytes) -> None:
        """Write an object, whether there is one or not."""
        with faultpoint("journal.put"):
            self._run("written", lambda: self._write(key, data))

    def replace(self, key: str, data: bytes, version: str, *, point: str) -> bool:
        """Replace an object if it still has this version. False if it has not."""
        found = self.read(key)
        if found is None or found.version != version:
            return False
        with faultpoint(point):
            self._run("written", lambda: self._write(key, data))
        return True

    def delete(self, key: str) -> None:
        """Delete an object. Deleting it again changes nothing."""

        def deleted() -> None:
            if self._fs.exists(f"{self._root}/{key}"):
                self._fs.rm_file(f"{self._root}/{key}")

        self._run("deleted", deleted)

    def folders(self, prefix: str) -> list[str]:
        """List the names of the folders directly under a prefix, in order."""
        return self._listed(prefix, "directory")

    def names(self, prefix: str) -> Iterator[str]:
        """List the names of the objects directly under a prefix, in order."""
        return iter(self._listed(prefix, "file"))

    def listing(self, prefix: str) -> list[Listed]:
        """List all objects below a prefix, however deep, in no order."""

        def found() -> list[Listed]:
            folder = f"{self._root}/{prefix}"
            try:
                paths = self._fs.find(folder)
            except FileNotFoundError:
                return []
            names = (str(path).partition(f"{folder}/")[2] for path in paths)
            # Not every file system tells when a file was written.
            return [
                Listed(name, UNKNOWN_TIME)
                for name in names
                if not name.rpartition("/")[2].startswith(".")
            ]

        return self._run("listed", found)

    def _listed(self, prefix: str, kind: str) -> list[str]:
        def found() -> list[str]:
            try:
                entries = self._fs.ls(f"{self._root}/{prefix}", detail=True)
            except FileNotFoundError:
                return []
            names = (PurePosixPath(item["name"]).name for item in entries if item["type"] == kind)
            return sorted(name for name in names if not name.startswith("."))

        return self._run("listed", found)

    def _write(self, key: str, data: bytes) -> None:
        path = PurePosixPath(f"{self._root}/{key}")
        self._fs.makedirs(str(path.parent), exist_ok=True)
        part = str(path.with_name(f".new-{uuid4().hex}"))
        self._fs.pipe_file(part, data)
        self._fs.mv(part, str(path))

    def _run(self, done: str, work: Callable[[], T]) -> T:
        try:
            # Opened at the first use, because some file systems connect then.
            if self._fs is None:
                fs, root = fsspec.core.url_to_fs(self._url, use_listings_cache=False)
                self._root = str(root).rstrip("/")
                self._fs = fs
            return work()
        except Exception as error:
            # File systems raise what their own libraries raise; there is no common class.
            raise JournalFailed(
                f"The payment journal {self.address} cannot be {done}: {redact(str(error))}.",
                "Check that the store can be reached, or set REELQUEUE_JOURNAL_URL to another one.",
            ) from error
