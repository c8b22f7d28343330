"""A line on which calls run ahead of their replies: no reply is taken for another call's."""

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as NoConnection

from tests.support.valkey import Valkey
from worker.ledger.connection import pipelined_connection


def test_replies_come_in_the_order_of_the_calls_whatever_is_due_between_them(
    valkey: Valkey,
) -> None:
    """A check of the connection's health would read the reply that the first call is owed."""
    with Redis.from_url(valkey.url, decode_responses=True, health_check_interval=1e-9) as client:
        client.ping()
        with pipelined_connection(client) as line:
            for call in ("one", "two", "three"):
                line.send("ECHO", call)
            assert [line.receive() for _ in range(3)] == ["one", "two", "three"]


def test_a_line_that_broke_stays_broken_when_the_server_is_back(valkey: Valkey) -> None:
    """It would connect anew by itself, and give the second call the reply of the third."""
    with Redis.from_url(valkey.url, decode_responses=True, socket_timeout=0.1) as client:
        client.ping()
        with pipelined_connection(client) as line:
            valkey.freeze()
            try:
                line.send("ECHO", "one")
                line.send("ECHO", "two")
                with pytest.raises(NoConnection):
                    line.receive()
            finally:
                valkey.resume()
            line.send("ECHO", "three")
            for _ in ("two", "three"):
                with pytest.raises(NoConnection):
                    line.receive()
        with pipelined_connection(client) as line:
            line.send("ECHO", "four")
            assert line.receive() == "four"
