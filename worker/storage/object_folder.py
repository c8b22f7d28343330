"""The files of a store in a bucket (S3, GCS, Azure)."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Final, Self, TypeVar
from urllib.parse import urlsplit

from worker.faultpoints import faultpoint
from worker.filesystems.bucket import SCHEMES, Bucket
from worker.resources.offload import Waiting, offload_with_timeout
from worker.storage.partial_files import PARTIAL_FOLDER, partial_file_name, started_at

T = TypeVar("T")

LARGE_BYTES: Final = 32 * 2**20
"""Files from this size on are sent in parts."""
_REQUEST_SECONDS: Final = 540
_RETRY_SECONDS: Final = 30
_MAX_SECONDS: Final = 560.0
"""The longest time for a transfer. A step may take 600 s."""


class ObjectFolder:
    """Objects of a bucket, under a prefix. An object appears only when it is complete.

    Each call waits in a native thread, so that it blocks no other greenlet.

    Args:
        url: The bucket and the prefix.

    Raises:
        ImportError: The package ``obstore`` is not installed.
        ValueError: The library does not understand the URL or the environment.
    """

    def __init__(self, url: str) -> None:
        bucket = Bucket(url, request_seconds=_REQUEST_SECONDS, retry_seconds=_RETRY_SECONDS)
        self._obstore, self._store = bucket.library, bucket.store

    @classmethod
    def from_url(cls, url: str) -> Self | None:
        """Open the bucket of a URL; None for a URL of another kind."""
        return cls(url) if urlsplit(url).scheme in SCHEMES else None

    def exists(self, key: str) -> bool:
        """Return whether there is an object under this key."""
        try:
            _call(self._obstore.head, self._store, key)
        except FileNotFoundError:
            return False
        return True

    def write(self, source: Path, key: str) -> None:
        """Copy a local file to a key, replacing any object there in one step."""
        with faultpoint("store.write"):
            _call(self._obstore.put, self._store, key, source)

    def create(self, source: Path, key: str) -> bool:
        """Copy a local file to a key that no object has; return False if the key is taken.

        A conditional put is one request, for which the whole file is read into memory. A large file
        is instead uploaded in parts under another key, and then copied to its key on the same
        condition.
        """
        put = self._create_large if source.stat().st_size >= LARGE_BYTES else self._create
        try:
            with faultpoint("store.write"):
                _call(put, source, key)
        except self._obstore.exceptions.AlreadyExistsError:
            return False
        return True

    def read(self, key: str, to: Path) -> bool:
        """Copy the object of a key to a local file; False if there is no such object."""
        try:
            _call(self._copy, key, to, math.inf)
        except FileNotFoundError:
            return False
        return True

    def delete(self, key: str) -> None:
        """Delete the object of a key, if it exists."""
        try:
            _call(self._obstore.delete, self._store, key)
        except FileNotFoundError:
            return

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys in a folder and its sub-folders, in order."""
        listed = iter(self._obstore.list(self._store, prefix=prefix or None, chunk_size=1000))
        while page := _call(next, listed, None):
            yield from (entry["path"] for entry in page)

    def copy(self, key: str, to: Path, max_bytes: int, under: str) -> bool:  # noqa: ARG002
        """Copy an object to a local file; False if it is larger. Buckets have no links."""
        return _call(self._copy, key, to, max_bytes)

    def sign(self, keys: Sequence[str], seconds: float) -> list[str]:
        """Return links with which anybody can read these objects for some seconds."""
        life = timedelta(seconds=seconds)
        return list(_call(self._obstore.sign, self._store, "GET", list(keys), life))

    def sweep_partial_files(self, before: float) -> int:
        """Delete copies of large files started before a time; return how many."""
        return _call(self._sweep, before)

    def _create(self, source: Path, key: str) -> None:
        self._obstore.put(self._store, key, source, mode="create", use_multipart=False)

    def _create_large(self, source: Path, key: str) -> None:
        partial = f"{PARTIAL_FOLDER}/{partial_file_name()}"
        try:
            self._obstore.put(self._store, partial, source, use_multipart=True, max_concurrency=2)
            self._obstore.copy(self._store, partial, key, overwrite=False)
        finally:
            # A copy that cannot be deleted is swept later. An earlier error is the one to report.
            with suppress(Exception):
                self._obstore.delete(self._store, partial)

    def _sweep(self, before: float) -> int:
        found = [
            entry["path"]
            for page in self._obstore.list(self._store, prefix=PARTIAL_FOLDER)
            for entry in page
        ]
        old = [path for path in found if started_at(PurePosixPath(path).name) < before]
        for path in old:
            self._obstore.delete(self._store, path)
        return len(old)

    def _copy(self, key: str, to: Path, max_bytes: float) -> bool:
        found, left = self._obstore.get(self._store, key), max_bytes
        if found.meta["size"] > max_bytes:
            return False
        with to.open("wb") as file:
            for chunk in found.stream():
                left -= len(chunk)
                if left < 0:
                    return False
                file.write(chunk)
        return True


def _call(function: Callable[..., T], *args: object, **kwargs: object) -> T:
    return offload_with_timeout(Waiting.STORES, _MAX_SECONDS, function, *args, **kwargs)
