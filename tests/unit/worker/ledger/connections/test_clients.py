"""Clients of Redis."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.exceptions import AuthenticationError

from config.settings import RedisSettings, Settings
from tests.support.valkey import Valkey, valkey_in_memory
from tests.support.waiting import wait_until
from worker.ledger.connections.clients import MAX_CONNECTIONS, RetryOutages, connect


def test_a_refused_password_is_not_tried_again(tmp_path: Path) -> None:
    with valkey_in_memory(tmp_path / "valkey") as valkey, valkey.client() as owner:
        owner.config_set("requirepass", "secret")
        settings = Settings(redis=RedisSettings(url=SecretStr(valkey.url)))
        before = owner.info("stats")["total_connections_received"]
        with connect(settings, retry=RetryOutages()) as client, pytest.raises(AuthenticationError):
            client.ping()
        assert owner.info("stats")["total_connections_received"] == before + 1


def test_callers_wait_for_one_of_the_few_connections(valkey: Valkey) -> None:
    settings = Settings(redis=RedisSettings(url=SecretStr(valkey.url)))
    callers = 3 * MAX_CONNECTIONS
    with (
        connect(settings) as client,
        valkey.client() as owner,
        ThreadPoolExecutor(callers) as threads,
    ):
        before = owner.info("stats")["total_connections_received"]
        calls = [threads.submit(client.blpop, [f"list:{n}"], 120) for n in range(callers)]
        wait_until(
            lambda: owner.info("clients")["blocked_clients"] >= MAX_CONNECTIONS,
            "all connections to be in use",
        )
        for n in range(callers):
            owner.rpush(f"list:{n}", "x")
        assert all(call.result(120) for call in calls)
        opened = owner.info("stats")["total_connections_received"] - before
        assert opened == MAX_CONNECTIONS
