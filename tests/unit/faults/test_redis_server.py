"""The campaign's Redis loses what a fault takes, and nothing that it must keep."""

import random
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError
from redis.retry import Retry

from tests.faults.redis_server import DROPPED, FLUSHED, OLDER, UNREPLICATED, RedisServer
from tests.support.waiting import wait_until


@pytest.fixture
def server(tmp_path: Path, seed: int) -> Iterator[RedisServer]:
    with RedisServer(tmp_path, random.Random(seed)) as server:
        yield server


def client(port: int) -> Redis:
    """A client that sends each command once."""
    return Redis(port=port, decode_responses=True, retry=Retry(NoBackoff(), 0), socket_timeout=2)


class Writer(threading.Thread):
    """Counts up in Redis, one write after another."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.confirmed = 0
        self.is_stopped = False
        self._port = port

    def run(self) -> None:
        with client(self._port) as redis:
            while not self.is_stopped:
                with suppress(RedisError):
                    redis.set("count", self.confirmed + 1)
                    self.confirmed += 1


def test_a_power_cut_keeps_every_confirmed_write(server: RedisServer) -> None:
    writer = Writer(server.workers.port)
    writer.start()
    for cut in range(1, 4):
        wait_until(lambda cut=cut: writer.confirmed > 100 * cut, "writes")  # type: ignore[misc]
        before = writer.confirmed
        server.power_cut()
        with client(server.steady.port) as redis:
            kept = int(redis.get("count") or 0)
        assert before <= kept
    writer.is_stopped = True
    writer.join()


def test_a_power_cut_loses_writes_that_were_not_confirmed(server: RedisServer) -> None:
    """Many clients write at the same time; no reply of the last writes arrives."""
    stop = threading.Event()

    def write(name: int) -> None:
        with client(server.workers.port) as redis:
            while not stop.is_set():
                with suppress(RedisError):
                    redis.append(f"text:{name}", "x" * 1000)

    threads = [threading.Thread(target=write, args=(name,), daemon=True) for name in range(20)]
    for thread in threads:
        thread.start()

    def lost() -> int:
        server.power_cut()
        return server.lost[DROPPED]

    try:
        wait_until(lost, "a loss")
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_an_older_copy_and_a_flush_lose_what_came_after(server: RedisServer) -> None:
    with Redis(port=server.steady.port, decode_responses=True) as redis:
        redis.set("kept", 1)
        copy = server.copy()
        redis.set("lost", 1)
        server.restore(copy)
        assert redis.keys() == ["kept"]
        server.flush()
        assert redis.keys() == []
    assert server.lost[OLDER] > 0
    assert server.lost[FLUSHED] == 1


def test_a_failover_loses_what_the_replica_did_not_get(server: RedisServer) -> None:
    with Redis(port=server.steady.port, decode_responses=True) as redis:
        redis.set("kept", 1)
        server.prepare_failover()
        redis.set("lost", 1)
        server.fail_over()
        assert not server.is_busy
        assert redis.keys() == ["kept"]
        redis.set("after", 1)
        server.restart()
        redis.set("last", 1)
        assert sorted(redis.keys()) == ["after", "kept", "last"]
    assert server.lost[UNREPLICATED] > 0


def test_writes_are_refused_and_accepted_again(server: RedisServer) -> None:
    with Redis(port=server.steady.port, decode_responses=True) as redis:
        server.refuse_memory()
        with pytest.raises(OutOfMemoryError):
            redis.set("a", 1)
        server.accept()
        server.refuse_writes()
        with pytest.raises(ReadOnlyError):
            redis.set("a", 1)
        server.accept()
        redis.set("a", 1)
