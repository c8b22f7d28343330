"""Clients of Redis."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.exceptions import AuthenticationError

from config.settings import RedisSettings, Settings
from tests.support.valkey import Valkey, valkey_in_memory
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
        for found in threads.map(
            lambda n: client.blpop([f"nothing:{n}"], timeout=0.2), range(callers)
        ):
            assert found is None
        opened = owner.info("stats")["total_connections_received"] - before
        assert opened == MAX_CONNECTIONS
