"""Pages: how many jobs one script or one round trip handles."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

T = TypeVar("T")

PAGE_SIZE: Final = 500
"""Jobs per script call; one call then takes the server some milliseconds."""


def pages(values: Iterable[T], size: int = PAGE_SIZE) -> Iterator[list[T]]:
    """Split values into lists of at most ``size``."""
    iterator = iter(values)
    while page := list(islice(iterator, size)):
        yield page
