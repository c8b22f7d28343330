"""Copies of a ledger that a test puts back, as a restored backup does."""

from collections.abc import Mapping
from typing import Any

from redis import Redis


def copy_ledger(redis: Redis) -> Mapping[bytes, bytes]:
    """Copy all keys."""
    run: Any = redis.execute_command
    return {key: run("DUMP", key, NEVER_DECODE=[]) for key in list(redis.scan_iter("*"))}


def put_back(redis: Redis, copied: Mapping[bytes, bytes]) -> None:
    """Put a copy in the ledger's place."""
    redis.flushdb()
    for key, value in copied.items():
        redis.restore(key, 0, value)
