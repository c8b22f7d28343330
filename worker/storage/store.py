"""Stores of files, local or remote. A key always holds a complete file, even if its writer dies."""

import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote
from uuid import uuid4

from worker.media.prepared_file import sha256_of
from worker.resources.offload import offload
from worker.resources.scratch import scratch_folder
from worker.resources.shortages import REMEDIES, Shortage, shortage_of
from worker.storage.errors import NotStoredError, StoreError, describe, remedy_for, wrong_content
from worker.storage.local_folder import LocalFolder
from worker.storage.object_folder import ObjectFolder
from worker.storage.partial_files import PARTIAL_FOLDER
from worker.storage.remote_folder import RemoteFolder

_ID_KEY: Final = "reelqueue-store-id"
_PROBE: Final = b"reelqueue store check\n"
_KEY: Final = re.compile(
    r"[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*(?:/[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*)*"
)
_SUFFIX: Final = re.compile(r"(\.[A-Za-z0-9]{1,8})?")
_LONGEST_SEGMENT: Final = 255


class Store:
    """A folder of files: on a local disk, in a bucket, or anywhere that fsspec reaches.

    Args:
        url: ``file:///folder``, a plain path, ``s3://bucket/folder`` (or ``gs://``, ``az://``), or
            any other URL that fsspec supports.

    Attributes:
        address: The URL, without credentials.

    Raises:
        StoreError: The URL is of an unknown kind, or the package that it needs is not installed.
    """

    def __init__(self, url: str) -> None:
        self.address = re.sub(r"//[^/@]*@", "//", url).rstrip("/")
        with self._store_errors("opened"):
            self._files = (
                LocalFolder.from_url(url) or ObjectFolder.from_url(url) or RemoteFolder(url)
            )

    def __repr__(self) -> str:
        """Show the address, without credentials."""
        return f"Store({self.address!r})"

    def read_id(self) -> str | None:
        """Return the random id of the store; None if no worker has used it yet.

        Raises:
            StoreError: It could not be read.
        """
        with self._fetched(_ID_KEY) as copy:
            return None if copy is None else copy.read_text().strip()

    def ensure_id(self) -> str:
        """Return the id of the store; create one if it has none.

        Raises:
            StoreError: It could not be read or written.
        """
        found = self.read_id()
        if found is not None:
            return found
        with scratch_folder() as folder:
            new = Path(folder) / "id"
            new.write_text(f"{uuid4()}\n")
            self.create_file(new, _ID_KEY)
        found = self.read_id()
        if found is None:
            # A writer of a `RemoteFolder` that was killed leaves its lock, and the key is taken.
            raise StoreError(
                f"The store {self.address} has no file {_ID_KEY}, and it cannot be created.",
                f"While no worker runs, delete the folders in the folder {PARTIAL_FOLDER} of the "
                "store.",
                self.address,
            )
        return found

    def put_file(self, local: Path, key: str) -> None:
        """Store a file, replacing any file under the same key in one step.

        Raises:
            StoreError: It could not be stored. A file under this key is unchanged.
            FileNotFoundError: The local file does not exist.
        """
        _check_key(key)
        local.stat()
        with self._store_errors("written"):
            self._files.write(local, key)

    def create_file(self, local: Path, key: str) -> bool:
        """Store a file under a key that no file has, also if several writers try at the same time.

        Returns:
            False if there is a file under this key; that file is unchanged.

        Raises:
            StoreError: It could not be stored.
            FileNotFoundError: The local file does not exist.
        """
        _check_key(key)
        local.stat()
        with self._store_errors("written"):
            return self._files.create(local, key)

    def put_content(self, local: Path, suffix: str = "") -> str:
        """Store a file once, under a key made from its content.

        Args:
            local: The file.
            suffix: The suffix of the key, such as ``.jpg``.

        Returns:
            The key: the first two digits of the SHA-256, a slash, the whole SHA-256, the suffix.

        Raises:
            StoreError: It could not be stored.
            ValueError: The suffix is not valid.
        """
        if not _SUFFIX.fullmatch(suffix):
            raise ValueError(f"{suffix!r} is not a file name suffix")
        digest = offload(sha256_of, local)
        key = f"{digest[:2]}/{digest}{suffix}"
        if not self.exists(key):
            self.put_file(local, key)
        return key

    def fetch(self, key: str, to: Path) -> None:
        """Copy a stored file to a local file, which appears only when it is complete.

        Raises:
            NotStoredError: There is no file under this key.
            StoreError: It could not be read, or could not be written locally.
        """
        _check_key(key)
        partial = to.with_name(f".{uuid4().hex}.part")
        with self._store_errors("read"):
            try:
                if not self._files.read(key, partial):
                    raise NotStoredError(
                        f"There is no file {key} in the store {self.address}.",
                        "Submit the file again, or restore it in the store.",
                        self.address,
                    )
                partial.replace(to)
            finally:
                partial.unlink(missing_ok=True)

    def exists(self, key: str) -> bool:
        """Return whether a file is stored under this key.

        Raises:
            StoreError: The store could not be read, so this is unknown.
        """
        _check_key(key)
        with self._store_errors("read"):
            return self._files.exists(key)

    def has_content(self, key: str, sha256: str) -> bool:
        """Return whether a file with this SHA-256, in hex, is stored under this key.

        Raises:
            StoreError: It could not be read.
        """
        with self._fetched(key) as copy:
            return copy is not None and offload(sha256_of, copy) == sha256

    def delete(self, key: str) -> None:
        """Delete a file; deleting it again has no effect.

        Raises:
            StoreError: It could not be deleted.
        """
        _check_key(key)
        with self._store_errors("deleted"):
            self._files.delete(key)

    def sweep_partial_files(self, seconds: float) -> int:
        """Delete partial files of killed processes, started more than this many seconds ago.

        Returns:
            The number of deleted files.

        Raises:
            StoreError: The files could not be listed, or one could not be deleted.
        """
        with self._store_errors("swept"):
            return self._files.sweep_partial_files(time.time() - seconds)

    def url(self, key: str) -> str:
        """Return the address of a file, without credentials."""
        _check_key(key)
        if isinstance(self._files, LocalFolder):
            # The same as `Path.as_uri`, but several times faster.
            return f"{self._files.uri}/{quote(os.fsencode(key))}"
        return f"{self.address}/{quote(key)}"

    @property
    def has_links(self) -> bool:
        """Whether `sign` can make links with which anybody can read a file."""
        return isinstance(self._files, ObjectFolder)

    def sign(self, addresses: Iterable[str], seconds: float) -> dict[str, str]:
        """Return links with which anybody can read files for some seconds, by their addresses.

        Args:
            addresses: Values that ``url`` has returned. Other addresses are left out.
            seconds: How long the links are valid.

        Raises:
            StoreError: The credentials cannot sign.
        """
        if not isinstance(self._files, ObjectFolder):
            return {}
        base = f"{self.address}/"
        keys = {text: unquote(text[len(base) :]) for text in addresses if text.startswith(base)}
        with self._store_errors("used for signed links"):
            links = self._files.sign(list(keys.values()), seconds) if keys else []
        return dict(zip(keys, links, strict=True))

    def local_path(self, key: str) -> str | None:
        """Return the path of a file on the local disk, whether it exists or not.

        Returns:
            None if the store is not a local folder.
        """
        _check_key(key)
        # The same as `Path.joinpath`, but several times faster.
        return f"{self._files.prefix}{key}" if isinstance(self._files, LocalFolder) else None

    def check(self) -> None:
        """Write, read and delete a small file.

        Raises:
            StoreError: One of these failed.
        """
        key = f"probe-{uuid4().hex}"
        with scratch_folder() as folder:
            sent, received = Path(folder) / "sent", Path(folder) / "received"
            sent.write_bytes(_PROBE)
            self.put_file(sent, key)
            try:
                self.fetch(key, received)
            finally:
                self.delete(key)
            if received.read_bytes() != _PROBE:
                raise wrong_content(self.address)

    @contextmanager
    def _fetched(self, key: str) -> Iterator[Path | None]:
        """Yield a copy of a file in a scratch folder; None if it is not stored."""
        with scratch_folder() as folder:
            copy = Path(folder) / "copy"
            try:
                self.fetch(key, copy)
            except NotStoredError:
                yield None
            else:
                yield copy

    @contextmanager
    def _store_errors(self, operation: str) -> Iterator[None]:
        """Raise a `StoreError` for any exception: those of file systems have no common class."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            shortage = shortage_of(error)
            if shortage is Shortage.SCRATCH_DISK and operation != "read":
                # The disk of the store is full, not that of the worker.
                shortage = None
            raise StoreError(
                f"The store {self.address} cannot be {operation}: {describe(error)}.",
                REMEDIES[shortage] if shortage else remedy_for(error),
                self.address,
                shortage,
            ) from error


def _check_key(key: str) -> None:
    """Refuse a key that is empty, or leads out of the store or into its partial files."""
    if not _KEY.fullmatch(key) or (
        # A character has at most four bytes.
        len(key) * 4 > _LONGEST_SEGMENT
        and any(len(segment.encode()) > _LONGEST_SEGMENT for segment in key.split("/"))
    ):
        raise ValueError(f"{key!r} is not a valid key of a store")
