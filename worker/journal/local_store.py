"""The journal in a local folder: exclusive creation by hard link, each write followed by fsync."""

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar
from uuid import uuid4

from worker.faultpoints import faultpoint
from worker.journal.stores import JournalFailed, Listed, Stored
from worker.resources.offload import offload_journal

T = TypeVar("T")

_TEMPORARY: Final = ".new-"


class LocalJournalStore:
    """Objects as files of a folder.

    A file is written under a temporary name, flushed to disk, and linked to its final name, which
    fails if that name exists. Then the folder is flushed. After a power cut the object is there
    as a whole or not at all; a temporary file may be left.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.address = str(folder)

    def create(self, key: str, data: bytes, *, point: str) -> bool:
        """Create an object. False if there is one under this key already."""
        return self._run("written", self._create, self._folder / key, data, point)

    def read(self, key: str) -> Stored | None:
        """Read an object. None if there is none."""
        return self._run("read", _read, self._folder / key)

    def put(self, key: str, data: bytes) -> None:
        """Write an object, whether there is one or not."""
        self._run("written", self._put, self._folder / key, data, "journal.put")

    def replace(self, key: str, data: bytes, version: str, *, point: str) -> bool:
        """Replace an object if it still has this version. False if it has not."""
        return self._run("written", self._replace, self._folder / key, data, version, point)

    def delete(self, key: str) -> None:
        """Delete an object. Deleting it again changes nothing."""
        self._run("deleted", _delete, self._folder / key)

    def folders(self, prefix: str) -> list[str]:
        """List the names of the folders directly under a prefix, in order."""
        return self._run("listed", _folders, self._folder / prefix)

    def listing(self, prefix: str) -> list[Listed]:
        """List all objects below a prefix, however deep, in no order."""
        return self._run("listed", _listing, self._folder / prefix)

    def _run(self, done: str, work: Callable[..., T], *args: object) -> T:
        try:
            return offload_journal(work, *args)
        except OSError as error:
            raise JournalFailed(
                f"The payment journal {self.address} cannot be {done}: "
                f"{error.strerror or type(error).__name__}.",
                _remedy(error),
            ) from error

    def _create(self, path: Path, data: bytes, point: str) -> bool:
        with self._temporary(path, data) as part, faultpoint(point):
            try:
                os.link(part, path)
            except FileExistsError:
                return False
            _sync_folder(path.parent)
        return True

    def _put(self, path: Path, data: bytes, point: str) -> None:
        with self._temporary(path, data) as part, faultpoint(point):
            part.replace(path)
            _sync_folder(path.parent)

    def _replace(self, path: Path, data: bytes, version: str, point: str) -> bool:
        with _locked(path):
            found = _read(path)
            if found is None or found.version != version:
                return False
            self._put(path, data, point)
        return True

    @contextmanager
    def _temporary(self, path: Path, data: bytes) -> Iterator[Path]:
        """A temporary file beside the final name, whose content is on disk."""
        self._make_folder(path.parent)
        part = path.with_name(f"{_TEMPORARY}{uuid4().hex}")
        try:
            with part.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield part
        finally:
            part.unlink(missing_ok=True)

    def _make_folder(self, folder: Path) -> None:
        """Make a folder and flush the names of the new ones to disk."""
        if folder.is_dir():
            return
        self._make_folder(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir()
        _sync_folder(folder.parent)


def _read(path: Path) -> Stored | None:
    try:
        with path.open("rb") as file:
            data, modified = file.read(), os.fstat(file.fileno()).st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Stored(data, hashlib.sha256(data).hexdigest(), modified)


def _delete(path: Path) -> None:
    path.unlink(missing_ok=True)
    if path.parent.is_dir():
        _sync_folder(path.parent)


def _folders(folder: Path) -> list[str]:
    try:
        found = sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    return [path.name for path in found if not path.name.startswith(".") and path.is_dir()]


def _listing(folder: Path) -> list[Listed]:
    # By `os.scandir`: to create a `Path` for each of many files would take most of the time.
    found, start, places = [], len(f"{folder}/"), [str(folder)]
    while places:
        with suppress(FileNotFoundError), os.scandir(places.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    places.append(entry.path)
                elif not entry.name.startswith("."):
                    with suppress(FileNotFoundError):
                        found.append(Listed(entry.path[start:], entry.stat().st_mtime))
    return found


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock on a key against other processes of this machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remedy(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "Free disk space there. Paying continues as soon as the journal can be written."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "Allow the user that runs the worker to read and write there."
    return "Check the disk, or set REELQUEUE_JOURNAL_URL to a folder that all workers share."
