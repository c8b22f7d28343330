"""The files of a store in a bucket (S3, GCS, Azure), through the native library ``obstore``."""

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

from worker.faultpoints import faultpoint
from worker.resources.offload import offload_with_timeout
from worker.storage.partial_files import PARTIAL_FOLDER, partial_file_name, started_at

T = TypeVar("T")

SCHEMES: Final = frozenset({"s3", "s3a", "gs", "az", "azure", "abfs", "abfss"})
"""The schemes of URLs whose stores have a conditional put."""
LARGE_BYTES: Final = 32 * 2**20
"""Files from this size on are sent in parts."""
_S3: Final = frozenset({"s3", "s3a"})
_PROVIDERS: Final = {"s3": "AWS", "s3a": "AWS", "gs": "GOOGLE"}
"""The prefix of each provider's variables in the environment; that of the others is AZURE."""
_FROM_ENVIRONMENT: Final = ("allow_http", "allow_invalid_certificates", "proxy_url")
"""Options that the library ignores in the environment once any option is given."""
_TIMEOUTS: Final = {"connect_timeout": "5s", "timeout": "9m"}
_RETRY: Final = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}
_MAX_SECONDS: Final = 560.0
"""The longest that a transfer may take: a step's limit is 600 s."""


class ObjectFolder:
    """Objects of a bucket, under a prefix. An object appears only once it is whole.

    Each call waits in a native thread, so that it blocks no greenlet. Credentials come from the
    environment, in the variables of the provider (``AWS_ACCESS_KEY_ID`` and so on).

    Args:
        url: The bucket and the prefix.

    Raises:
        ImportError: The package ``obstore`` is not installed.
        ValueError: The library does not understand the URL or the environment.
    """

    def __init__(self, url: str) -> None:
        try:
            import obstore  # noqa: PLC0415 - an optional dependency
            from obstore.store import from_url  # noqa: PLC0415
        except ImportError:
            raise ImportError("the package obstore is not installed") from None
        self._obstore: Any = obstore
        options: Any = {"client_options": _client_options(url), "retry_config": _RETRY}
        if urlsplit(url).scheme in _S3:
            # Amazon has no conditional copy of a whole object, but one that completes an upload.
            options["copy_if_not_exists"] = os.environ.get("AWS_COPY_IF_NOT_EXISTS", "multipart")
        self._store: Any = from_url(url, **options)

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
        """Copy a local file to a key, unless there is an object under it; return whether it was.

        A conditional put is one request, so the whole file is in memory while it is sent. A large
        file is sent in parts under another key, and copied in the bucket on the same condition.
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
            _call(self._read, key, to)
        except FileNotFoundError:
            return False
        return True

    def delete(self, key: str) -> None:
        """Delete the object of a key, if it exists."""
        try:
            _call(self._obstore.delete, self._store, key)
        except FileNotFoundError:
            return

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
            # A copy that stays is swept later; the first error is the one to report.
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

    def _read(self, key: str, to: Path) -> None:
        found = self._obstore.get(self._store, key)
        with to.open("wb") as file:
            for chunk in found.stream():
                file.write(chunk)


def _client_options(url: str) -> dict[str, str]:
    prefix = _PROVIDERS.get(urlsplit(url).scheme, "AZURE")
    given = {name: os.environ.get(f"{prefix}_{name.upper()}") for name in _FROM_ENVIRONMENT}
    return {**_TIMEOUTS, **{name: value for name, value in given.items() if value}}


def _call(function: Callable[..., T], *args: object, **kwargs: object) -> T:
    return offload_with_timeout(_MAX_SECONDS, function, *args, **kwargs)
