"""The check of a kept connection before it is used again."""

import os
import subprocess
import sys
from pathlib import Path

from redis import Connection, Redis

from tests.support.valkey import Valkey
from worker.ledger.connections.readiness import BlockingPool


def test_a_connection_that_the_server_has_closed_is_opened_again(valkey: Valkey) -> None:
    with client(valkey) as redis, valkey.client() as owner:
        before = redis.client_id()
        owner.client_kill_filter(_id=before)
        assert redis.ping()
        assert redis.client_id() != before


def test_a_command_under_gevent_registers_nothing_with_the_hub(
    valkey: Valkey, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    run = subprocess.run(
        [sys.executable, program, str(valkey.port)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[5],
        env={**os.environ, "PYTHONPATH": "."},
    )
    own, theirs = map(int, run.stdout.split())
    assert own == 0
    assert theirs > 0, "redis-py needs no other check any more"


def client(valkey: Valkey) -> Redis:
    """Return a client with one connection."""
    arguments = {"host": "127.0.0.1", "port": valkey.port, "decode_responses": True}
    pool = BlockingPool(connection_class=Connection, max_connections=1, **arguments)
    return Redis.from_pool(pool)


PROGRAM = """
from gevent import monkey

monkey.patch_all()

import sys

import gevent.select
from redis import BlockingConnectionPool, Redis

from worker.ledger.connections.readiness import BlockingPool

for pool in BlockingPool, BlockingConnectionPool:
    with Redis.from_pool(pool(host="127.0.0.1", port=int(sys.argv[1]))) as redis:
        redis.ping()
        calls = 0

        def count(frame, event, argument):
            global calls
            calls += event == "call" and frame.f_code.co_filename == gevent.select.__file__

        sys.setprofile(count)
        redis.ping()
        sys.setprofile(None)
        print(calls)
"""
"""Prints how many functions of gevent's `select` a command calls, with both pools."""
