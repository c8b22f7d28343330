"""The connection to the Redis server of the records."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as NoAnswer


def replies(pipe: Any) -> list[Any]:  # noqa: ANN401 - the client's own types fit no pipeline
    """The replies of a pipeline: where a key holds something of another kind, the refusal itself.

    Raises:
        RedisError: The server could not be asked.
    """
    found: list[Any] = pipe.execute(raise_on_error=False)
    for reply in found:
        if isinstance(reply, Exception) and not isinstance(reply, ResponseError):
            raise reply
    return found


class PipelinedConnection:
    """A connection on which calls are sent before the replies to earlier ones are read.

    Replies come in the order of the calls. Once it broke, it stays broken: nobody could tell which
    call the next reply belongs to.
    """

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 - the client's own has no type
        self._connection = connection
        self._is_broken = False

    def send(self, *command: object) -> None:
        """Send a call. Whether that went well, ``receive`` tells."""
        if self._is_broken:
            return
        try:
            # A health check would take the reply of an earlier call for its own.
            self._connection.send_command(*command, check_health=False)
        except (NoConnection, NoAnswer):
            self._is_broken = True

    def receive(self) -> Any:  # noqa: ANN401 - whatever the server says
        """The reply to the earliest call that has none yet.

        Raises:
            NoConnection: The line broke; no further reply will come. Calls may have been carried
                out nevertheless.
            ResponseError: The server refuses the call.
        """
        if self._is_broken:
            raise NoConnection("the line broke before")
        try:
            return self._connection.read_response()
        except (NoConnection, NoAnswer) as error:
            self._is_broken = True
            raise NoConnection(str(error)) from error


@contextmanager
def pipelined_connection(redis: Redis) -> Iterator[PipelinedConnection]:
    """A line of one's own; it is closed in the end, with whatever was not read."""
    connection: Any = redis.connection_pool.get_connection()
    try:
        yield PipelinedConnection(connection)
    finally:
        connection.disconnect()
        redis.connection_pool.release(connection)
