"""Servers that no worker can use are named with what to do, by workers and by `doctor`."""

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from config.settings import RedisSettings, Settings
from tasks.cli.checks.doctor_checks import run_checks
from tasks.producer.producer import Producer
from tests.support.commands import run_reelqueue
from tests.support.old_redis import server_that_says
from tests.support.valkey import Valkey
from tests.support.waiting import refusing_port
from worker.broker.startup_check import ConnectionProblem, connection_problems

MOST_CHECKS = 8
SERVERS: dict[str, tuple[dict[str, object], str]] = {
    "Redis 5": ({"redis_version": "5.0.14", "role": "master"}, "is older than Redis 6."),
    "Redis 6": ({"redis_version": "6.2.14", "role": "master"}, "is Redis 6.2.14, which is too old"),
    "a cluster's": (
        {"redis_version": "7.2.4", "role": "master", "cluster_enabled": 1},
        "is a node of a cluster. Use a single server",
    ),
    "a Sentinel": (
        {"redis_version": "7.2.4", "redis_mode": "sentinel"},
        "is a Sentinel. Write redis+sentinel://",
    ),
}


def problems(redis_url: str, broker_url: str | None = None) -> list[ConnectionProblem]:
    return list(connection_problems(settings(redis_url, broker_url)))


def settings(redis_url: str, broker_url: str | None = None) -> Settings:
    broker = None if broker_url is None else SecretStr(broker_url)
    return Settings(redis=RedisSettings(url=SecretStr(redis_url), broker_url=broker))


def doctor(folder: Path, **env: str) -> list[dict[str, Any]]:
    stores = {f"REELQUEUE_{name}_URL": (folder / name).as_uri() for name in ("MEDIA", "OUTPUT")}
    api = {"NEMO_API_URL": f"http://127.0.0.1:{refusing_port()}"}
    return run_reelqueue("doctor", "--json", env={**stores, **api, **env}).records


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_that_cannot_be_used_ends_a_worker_and_is_named_by_doctor(
    server: str, valkey: Valkey
) -> None:
    info, says = SERVERS[server]
    with server_that_says(info) as url:
        (problem,) = problems(url)
        assert problem.is_fatal
        assert problem.message.startswith("REDIS_URL: the Redis server at 127.0.0.1:")
        assert says in problem.message
        (problem,) = problems(valkey.url, url)
        assert problem.is_fatal
        assert problem.message.startswith("BROKER_URL: ")
        assert says in problem.message
        # Its checks of Redis come first; this server knows too little for the others.
        producer = Producer.open(settings(url))
        remedies = (check.remedy for check in run_checks(producer) if not check.ok)
        assert any(says in remedy for remedy in islice(remedies, MOST_CHECKS))
        producer.ledger.redis.close()


def test_a_replica_is_named_and_waited_for(valkey: Valkey, tmp_path: Path) -> None:
    replica = Valkey(tmp_path / "replica", "--replicaof", f"127.0.0.1 {valkey.port}").start()
    try:
        (problem,) = problems(replica.url)
        assert not problem.is_fatal
        assert "is a replica, which accepts no writes. Point" in problem.message
        checks = doctor(tmp_path, REDIS_URL=valkey.url, BROKER_URL=replica.url)
    finally:
        replica.stop()
    (broker,) = [check for check in checks if check["check"] == "broker"]
    assert "BROKER_URL: the server at" in broker["remedy"]
    assert "is a replica" in broker["remedy"]


def test_a_good_server_and_one_that_is_away_have_no_problem(valkey: Valkey) -> None:
    assert problems(valkey.url) == []
    assert problems(f"redis://127.0.0.1:{refusing_port()}/0") == []
