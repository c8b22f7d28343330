"""Pages: how many jobs one script or one round trip handles."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

T = TypeVar("T")

PAGE_SIZE: Final = 500
"""Jobs that are read or written together; the server answers within some milliseconds."""
MOVES_PER_CALL: Final = 50
"""Jobs that one call moves to other states. During a call the server answers no other client, and
each move takes up to a millisecond."""


def pages(values: Iterable[T], size: int = PAGE_SIZE) -> Iterator[list[T]]:
    """Split values into lists of at most ``size``."""
    iterator = iter(values)
    while page := list(islice(iterator, size)):
        yield page
