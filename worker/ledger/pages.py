"""Many records at a time, but not too many."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

T = TypeVar("T")

PAGE_SIZE: Final = 500
"""Jobs that one script looks at or changes: some milliseconds of the server's time."""


def pages(values: Iterable[T]) -> Iterator[list[T]]:
    """Values in lists of the size that one script or one round trip carries well."""
    iterator = iter(values)
    while page := list(islice(iterator, PAGE_SIZE)):
        yield page
