"""Which errors of Redis say nothing about the call: the server is away, or refuses every write."""

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
    # In memory that is full, on a replica, and on a replica without its primary.
    *(OutOfMemoryError, ReadOnlyError, ClusterDownError),
)
_CODES: Final = ("MISCONF", "NOREPLICAS")
"""Codes without a type: a disk that cannot be written, and too few replicas."""


def is_outage(error: RedisError) -> bool:
    """Return whether a call that failed may succeed later as it is, without a change to it."""
    if isinstance(error, ResponseError) and str(error).startswith(_CODES):
        return True
    return isinstance(error, _TYPES)
