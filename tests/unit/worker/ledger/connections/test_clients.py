"""Clients of Redis."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.exceptions import AuthenticationError

from config.settings import RedisSettings, Settings
from tests.support.valkey import valkey_in_memory
from worker.ledger.connections.clients import RetryOutages, connect


def test_a_refused_password_is_not_tried_again(tmp_path: Path) -> None:
    with valkey_in_memory(tmp_path / "valkey") as valkey, valkey.client() as owner:
        owner.config_set("requirepass", "secret")
        settings = Settings(redis=RedisSettings(url=SecretStr(valkey.url)))
        before = owner.info("stats")["total_connections_received"]
        with connect(settings, retry=RetryOutages()) as client, pytest.raises(AuthenticationError):
            client.ping()
        assert owner.info("stats")["total_connections_received"] == before + 1
