"""Which errors of Redis do not depend on the call: the server is away, or refuses every write."""

from typing import Final

from redis.exceptions import (
    ClusterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

_TYPES: Final = (
    *(RedisConnectionError, RedisTimeoutError),
    # Raised if the memory is full, by a replica, and by a replica without its primary.
    *(OutOfMemoryError, ReadOnlyError, ClusterDownError),
)
_CODES: Final = ("MISCONF", "NOREPLICAS")
"""Codes that have no exception class: the disk cannot be written, and too few replicas."""


def is_outage(error: RedisError) -> bool:
    """Return whether a call that failed may succeed later without a change to it."""
    if isinstance(error, ResponseError) and str(error).startswith(_CODES):
        return True
    return isinstance(error, _TYPES)
