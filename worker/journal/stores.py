"""The interface of the stores that can hold the payment journal, and the error they raise."""

from dataclasses import dataclass
from typing import Final, Protocol

UNKNOWN_TIME: Final = float("inf")


class JournalFailed(Exception):  # noqa: N818 - named for what happened
    """The journal's store cannot be read, listed or written.

    After a failed write the outcome is unknown: the object may be there or not.

    Attributes:
        message: What happened, for people.
        remedy: What to do about it.
    """

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message, remedy)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        """The message. The remedy is shown beside it."""
        return self.message


@dataclass(frozen=True, slots=True)
class Stored:
    """The content of an object, with the version that `JournalStore.replace` needs."""

    data: bytes
    version: str
    modified: float = UNKNOWN_TIME
    """When it was written, in seconds by the store's clock; later than any time if not known."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An object in a listing."""

    name: str
    """Its key after the prefix."""
    modified: float
    """As in `Stored`."""


class JournalStore(Protocol):
    """Small objects under keys. Every write is durable when the call returns.

    Each method raises `JournalFailed` when the store does not answer or refuses.
    """

    address: str
    """The address of the store for people, without user names and passwords."""

    def create(self, key: str, data: bytes, *, point: str) -> bool:
        """Create an object. False if there is one under this key already.

        Args:
            key: The key.
            data: The content.
            point: The name of the fault points around the creation.
        """
        ...

    def read(self, key: str) -> Stored | None:
        """Read an object. None if there is none."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write an object, whether there is one or not."""
        ...

    def replace(self, key: str, data: bytes, version: str, *, point: str) -> bool:
        """Replace an object if it still has this version. False if it has not."""
        ...

    def delete(self, key: str) -> None:
        """Delete an object. Deleting it again changes nothing."""
        ...

    def folders(self, prefix: str) -> list[str]:
        """List the names of the folders directly under a prefix, in order."""
        ...

    def listing(self, prefix: str) -> list[Listed]:
        """List all objects below a prefix, however deep, in no order."""
        ...
