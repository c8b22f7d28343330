"""Deleting a key only while it has a known value."""

from redis import Redis, WatchError


def delete_if_equal(redis: Redis, key: str, value: str) -> bool:
    """Delete a key if it has this value, so that nothing that another process wrote is deleted.

    Returns:
        Whether it was deleted.

    Raises:
        RedisError: The server cannot be reached.
    """
    with redis.pipeline() as pipe:
        try:
            pipe.watch(key)  # type: ignore[no-untyped-call]
            if pipe.get(key) != value:
                return False
            pipe.multi()
            pipe.delete(key)
            pipe.execute()
        except WatchError:
            # Somebody has changed it in the meantime.
            return False
    return True
