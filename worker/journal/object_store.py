"""The journal in an object store (S3, GCS, Azure): exclusive creation by conditional put."""

from collections.abc import Callable
from typing import Final, TypeVar

from config.redaction import redact
from worker.faultpoints import faultpoint
from worker.filesystems.bucket import Bucket
from worker.journal.stores import JournalFailed, Listed, Stored
from worker.resources.offload import offload_journal

T = TypeVar("T")

_REQUEST_SECONDS: Final = 10
_RETRY_SECONDS: Final = 10
"""Both are short, because objects are small, and a step repeats a failed call."""


class ObjectJournalStore:
    """Objects of a bucket, under a prefix. Credentials come from the environment.

    Raises:
        JournalFailed: The address is not understood, or the package for it is not installed.
    """

    def __init__(self, url: str) -> None:
        self.address = redact(url.rstrip("/"))
        try:
            bucket = Bucket(url, request_seconds=_REQUEST_SECONDS, retry_seconds=_RETRY_SECONDS)
        except ImportError:
            raise JournalFailed(
                f"The payment journal {self.address} needs a package that is not installed.",
                "Install it with: pip install 'reelqueue[s3]' (or [gcs]).",
            ) from None
        except Exception as error:
            raise JournalFailed(
                f"The payment journal {self.address} cannot be opened: {redact(str(error))}.",
                "Correct REELQUEUE_JOURNAL_URL and the credentials in the environment.",
            ) from error
        self._obstore, self._store = bucket.library, bucket.store

    def create(self, key: str, data: bytes, *, point: str) -> bool:
        """Create an object. False if there is one under this key already."""
        return self._run("written", self._create, key, data, point)

    def read(self, key: str) -> Stored | None:
        """Read an object. None if there is none."""
        return self._run("read", self._read, key)

    def put(self, key: str, data: bytes) -> None:
        """Write an object, whether there is one or not."""
        self._run("written", self._put, key, data)

    def replace(self, key: str, data: bytes, version: str, *, point: str) -> bool:
        """Replace an object if it still has this version. False if it has not."""
        return self._run("written", self._replace, key, data, version, point)

    def delete(self, key: str) -> None:
        """Delete an object. Deleting it again changes nothing."""
        self._run("deleted", self._delete, key)

    def folders(self, prefix: str) -> list[str]:
        """List the names of the folders directly under a prefix, in order."""
        return self._run("listed", self._folders, prefix)

    def listing(self, prefix: str) -> list[Listed]:
        """List all objects below a prefix, however deep, in no order."""
        return self._run("listed", self._listing, prefix)

    def _run(self, done: str, work: Callable[..., T], *args: object) -> T:
        try:
            return offload_journal(work, *args)
        except Exception as error:
            # The library raises its own exceptions, which differ between the providers.
            text = redact(str(error)).split("\n", maxsplit=1)[0].rstrip(".")
            raise JournalFailed(
                f"The payment journal {self.address} cannot be {done}: {text}.",
                "Check that the bucket exists and that the credentials may read and write there.",
            ) from error

    def _create(self, key: str, data: bytes, point: str) -> bool:
        try:
            with faultpoint(point):
                self._obstore.put(self._store, key, data, mode="create")
        except self._obstore.exceptions.AlreadyExistsError:
            return False
        return True

    def _read(self, key: str) -> Stored | None:
        try:
            found = self._obstore.get(self._store, key)
        except FileNotFoundError:
            return None
        modified = found.meta["last_modified"].timestamp()
        return Stored(bytes(found.bytes()), str(found.meta["e_tag"]), modified)

    def _put(self, key: str, data: bytes) -> None:
        with faultpoint("journal.put"):
            self._obstore.put(self._store, key, data)

    def _replace(self, key: str, data: bytes, version: str, point: str) -> bool:
        try:
            with faultpoint(point):
                self._obstore.put(self._store, key, data, mode={"e_tag": version})
        except (
            self._obstore.exceptions.PreconditionError,
            self._obstore.exceptions.AlreadyExistsError,
            FileNotFoundError,
        ):
            return False
        return True

    def _delete(self, key: str) -> None:
        try:
            self._obstore.delete(self._store, key)
        except FileNotFoundError:
            return

    def _listing(self, prefix: str) -> list[Listed]:
        return [
            Listed(item["path"].partition(f"{prefix}/")[2], item["last_modified"].timestamp())
            for page in self._obstore.list(self._store, f"{prefix}/")
            for item in page
        ]

    def _folders(self, prefix: str) -> list[str]:
        found = self._obstore.list_with_delimiter(self._store, prefix)
        return sorted(path.rstrip("/").rpartition("/")[2] for path in found["common_prefixes"])
