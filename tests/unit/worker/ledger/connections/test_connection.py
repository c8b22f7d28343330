"""Pipelined connections: each reply belongs to its call, also after an error."""

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.support.valkey import Valkey
from worker.ledger.connections.connection import pipelined_connection


def test_a_due_health_check_does_not_take_the_reply_of_a_call(
    valkey: Valkey,
) -> None:
    """A health check between the calls would read the reply to the first one."""
    with Redis.from_url(valkey.url, decode_responses=True, health_check_interval=1e-9) as client:
        client.ping()
        with pipelined_connection(client) as connection:
            for call in ("one", "two", "three"):
                connection.send("ECHO", call)
            assert [connection.receive() for _ in range(3)] == ["one", "two", "three"]


def test_a_broken_connection_stays_broken_when_the_server_is_back(valkey: Valkey) -> None:
    """The client would reconnect and return the reply to the third call for the second."""
    with Redis.from_url(valkey.url, decode_responses=True, socket_timeout=1) as client:
        client.ping()
        with pipelined_connection(client) as connection:
            valkey.freeze()
            try:
                connection.send("ECHO", "one")
                connection.send("ECHO", "two")
                with pytest.raises(RedisConnectionError):
                    connection.receive()
            finally:
                valkey.resume()
            connection.send("ECHO", "three")
            for _ in ("two", "three"):
                with pytest.raises(RedisConnectionError):
                    connection.receive()
        with pipelined_connection(client) as connection:
            connection.send("ECHO", "four")
            assert connection.receive() == "four"
