"""Errors of file stores, and the remedy for each."""

import errno
from typing import Final

from config.redaction import redact
from worker.resources.shortages import Shortage

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_SETTING: Final = "REELQUEUE_MEDIA_URL or REELQUEUE_OUTPUT_URL, whichever names it,"


class StoreError(Exception):
    """A store operation failed. The same operation may succeed later.

    Attributes:
        message: What happened, for people.
        remedy: What to do about it.
        store: The store's address without credentials.
        shortage: What was short on this machine, if the store was not the cause.
    """

    def __init__(
        self, message: str, remedy: str, store: str = "", shortage: Shortage | None = None
    ) -> None:
        super().__init__(message, remedy)
        self.message = message
        self.remedy = remedy
        self.store = store
        self.shortage = shortage

    def __str__(self) -> str:
        """Return the message alone: callers show the remedy beside it."""
        return self.message


class NotStoredError(StoreError):
    """No file is stored under this key."""


def describe(error: Exception) -> str:
    """Say what went wrong, without secrets and without a final period."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # Error texts of object stores have many lines. The first one says what happened.
    return redact(str(error)).strip().partition("\n")[0].rstrip(".") or type(error).__name__


def remedy_for(error: Exception) -> str:
    """Say what to do about an error that a file system raised."""
    if isinstance(error, ImportError):
        return (
            "Install the package that this kind of store needs (pip install 'reelqueue[s3]' for "
            f"S3 and Azure, 'reelqueue[gcs]' for Google), or point {_SETTING} elsewhere."
        )
    if isinstance(error, ValueError):
        return f"Point {_SETTING} at a file:// folder or another URL that fsspec supports."
    number = error.errno if isinstance(error, OSError) else None
    if number in _FULL:
        return f"Free space in the store, or point {_SETTING} at a store with free space."
    if number in _FORBIDDEN:
        return "Give the user that runs the worker read and write access to the store."
    return f"Check that the store can be reached, or point {_SETTING} elsewhere."


def wrong_content(url: str) -> StoreError:
    """Build the error of a store that does not return the bytes that were written to it."""
    return StoreError(
        f"The store {url} returned other bytes than those that were written to it.",
        f"Check the store, or point {_SETTING} elsewhere.",
        url,
    )
