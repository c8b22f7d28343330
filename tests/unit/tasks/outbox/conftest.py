"""The parts of a worker that delivers notifications."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis

from config.settings import EgressSettings, RedisSettings, Settings, StorageSettings
from tests.support.valkey import Valkey
from tests.unit.conftest import OpenRuntime
from worker.runtime.runtime import Runtime

SECRET = "whsec_" + "QUJD" * 8


@pytest.fixture
def runtime(
    valkey: Valkey,
    redis: Redis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    open_runtime: OpenRuntime,
) -> Runtime:
    """The parts of this process, as a worker has them."""
    redis.ping()
    runtime = open_runtime(
        Settings(
            redis=RedisSettings(url=SecretStr(valkey.url)),
            egress=EgressSettings(webhook_secret=SecretStr(SECRET), private_hosts=("127.0.0.1",)),
            storage=StorageSettings(
                media_url=(tmp_path / "m").as_uri(), output_url=(tmp_path / "o").as_uri()
            ),
        )
    )
    monkeypatch.setattr("tasks.outbox.notifications.get_runtime", lambda: runtime)
    monkeypatch.setattr("tasks.outbox.webhook_delivery.get_runtime", lambda: runtime)
    return runtime
