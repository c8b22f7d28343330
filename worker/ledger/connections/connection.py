"""Pipelines and pipelined connections to the Redis server of the records."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError


def replies(pipe: Any) -> list[Any]:  # noqa: ANN401 - the client's own types fit no pipeline
    """Return the replies of a pipeline, with the ``ResponseError`` of each command that failed.

    A command fails when its key holds a value of another type.

    Raises:
        RedisError: The server was not reached.
    """
    found: list[Any] = pipe.execute(raise_on_error=False)
    for reply in found:
        if isinstance(reply, Exception) and not isinstance(reply, ResponseError):
            raise reply
    return found


class PipelinedConnection:
    """A connection on which calls are sent before the replies to earlier calls are read.

    Replies arrive in the order of the calls. After an error the connection stays broken, because
    the next reply could not be matched to its call.
    """

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 - the client's own has no type
        self._connection = connection
        self._is_broken = False

    def send(self, *command: object) -> None:
        """Send a call. The matching ``receive`` raises if that failed."""
        if self._is_broken:
            return
        try:
            # A health check would read the reply of an earlier call as its own.
            self._connection.send_command(*command, check_health=False)
        except (RedisConnectionError, RedisTimeoutError):
            self._is_broken = True

    def receive(self) -> Any:  # noqa: ANN401 - a reply of any type
        """Return the reply to the earliest call whose reply was not read yet.

        Raises:
            RedisConnectionError: The connection is broken, and no further reply will arrive. The
                server may have executed the calls.
            ResponseError: The server refused the call.
        """
        if self._is_broken:
            raise RedisConnectionError("the connection broke earlier")
        try:
            return self._connection.read_response()
        except (RedisConnectionError, RedisTimeoutError) as error:
            self._is_broken = True
            raise RedisConnectionError(str(error)) from error


@contextmanager
def pipelined_connection(redis: Redis) -> Iterator[PipelinedConnection]:
    """Open a connection for pipelined calls, and close it at the end.

    It is not taken from the client's pool, because the caller may need the pool for other calls.
    """
    pool: Any = redis.connection_pool
    connection = pool.connection_class(**pool.connection_kwargs)
    try:
        connection.connect()
        yield PipelinedConnection(connection)
    finally:
        connection.disconnect()
