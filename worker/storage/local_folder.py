"""The files of a store in a folder on the local disk."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self
from urllib.parse import unquote, urlsplit

from worker.faultpoints import faultpoint
from worker.resources.offload import offload
from worker.storage.partial_files import PARTIAL_FOLDER, partial_file_name, started_at

_NO_HARD_LINKS: Final = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
)


class LocalFolder:
    """A folder in which each file is synced to disk before it appears under its key.

    A power failure leaves the old file or the new one.

    Attributes:
        uri: The ``file://`` address of the folder.
        prefix: The path of the folder with a slash, which precedes a key in the path of its file.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.uri = root.as_uri()
        self.prefix = f"{str(root).rstrip('/')}/"
        self._partial = root / PARTIAL_FOLDER
        self._synced: set[Path] = set()
        """Folders whose own directory entries are synced to disk."""

    @classmethod
    def from_url(cls, url: str) -> Self | None:
        """Open the folder of a ``file://`` URL or a plain path; None for any other URL."""
        parts = urlsplit(url)
        if parts.scheme in {"file", "local"}:
            return cls(Path(unquote(parts.path)).absolute())
        return None if parts.scheme else cls(Path(url).absolute())

    def path(self, key: str) -> Path:
        """Return where the file of a key is, whether it exists or not."""
        return self._root / key

    def exists(self, key: str) -> bool:
        """Return whether there is a file under this key."""
        return self.path(key).is_file()

    def write(self, source: Path, key: str) -> None:
        """Copy a local file to a key, replacing any file there in one step."""
        offload(self._write, source, key)

    def create(self, source: Path, key: str) -> bool:
        """Copy a local file to a key that no file has; return False if the key is taken."""
        return offload(self._create, source, key)

    def read(self, key: str, to: Path) -> bool:
        """Copy the file of a key to a local file; False if there is no such file."""
        if not self.exists(key):
            return False
        offload(shutil.copyfile, self.path(key), to)
        return True

    def delete(self, key: str) -> None:
        """Delete the file of a key, if it exists."""
        try:
            self.path(key).unlink()
        except (FileNotFoundError, NotADirectoryError):
            return

    def sweep_partial_files(self, before: float) -> int:
        """Delete partial files started before a time; return how many."""
        try:
            found = list(self._partial.iterdir())
        except FileNotFoundError:
            return 0
        old = [path for path in found if started_at(path.name) < before]
        for path in old:
            path.unlink()
        return len(old)

    def _write(self, source: Path, key: str) -> None:
        target = self.path(key)
        with self._partial_copy(source, target) as partial, faultpoint("store.rename"):
            partial.replace(target)
        self._sync_folders(target)

    def _create(self, source: Path, key: str) -> bool:
        target = self.path(key)
        if os.path.lexists(target):
            return False
        with self._partial_copy(source, target) as partial, faultpoint("store.rename"):
            if not rename_if_free(partial, target):
                return False
        self._sync_folders(target)
        return True

    @contextmanager
    def _partial_copy(self, source: Path, target: Path) -> Iterator[Path]:
        """Yield a complete copy of a file, synced to disk. It is deleted after the block."""
        partial = self._partial / partial_file_name()
        for folder in partial.parent, target.parent:
            if not folder.exists():
                # It, and folders above it, may have been synced, and deleted since.
                self._synced.difference_update([folder, *folder.parents])
                folder.mkdir(parents=True, exist_ok=True)
        try:
            with faultpoint("store.write"):
                shutil.copyfile(source, partial)
                _sync(partial)
            yield partial
        finally:
            partial.unlink(missing_ok=True)

    def _sync_folders(self, target: Path) -> None:
        """Sync the directory entries of the file, and of new folders, to disk."""
        for parent in target.parents:
            _sync(parent)
            if parent == self._root or parent in self._synced:
                break
        self._synced.add(target.parent)


def rename_if_free(partial: Path, target: Path) -> bool:
    """Rename a complete file, unless the new name is taken; return whether it was renamed.

    The old name may still exist afterwards.
    """
    try:
        os.link(partial, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # FAT and some network shares have no hard links. If the process is killed here, an empty
        # file keeps the name.
        try:
            target.open("xb").close()
        except FileExistsError:
            return False
        partial.replace(target)
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
