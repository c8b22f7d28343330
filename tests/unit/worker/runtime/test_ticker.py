"""Who ticks: one worker at a time, and after its death another before a job's lease is over."""

import pytest
from celery import Celery
from pydantic import SecretStr
from redis import Redis

from config.settings import RedisSettings, Settings, TimingSettings
from tests.support.valkey import Valkey
from worker.runtime.runtime import Runtime
from worker.runtime.ticker import LEADER_SECONDS, Ticker


def ticker(valkey: Valkey, lease_seconds: float, tick_seconds: float = 0.5) -> Ticker:
    settings = Settings(
        redis=RedisSettings(url=SecretStr(valkey.url)),
        timing=TimingSettings(lease_seconds=lease_seconds, tick_seconds=tick_seconds),
    )
    return Ticker(Celery(), Runtime.open(settings))


def left(redis: Redis) -> int:
    """Milliseconds until nobody leads."""
    return redis.pttl("ticker:{rq}")


@pytest.mark.parametrize("lease_seconds", [5, 30, 600])
def test_a_dead_leader_is_missed_within_a_third_of_a_lease(
    redis: Redis, valkey: Valkey, lease_seconds: float
) -> None:
    assert ticker(valkey, lease_seconds).take_lead()
    assert 0 < left(redis) <= min(lease_seconds / 3, LEADER_SECONDS) * 1000


def test_a_leader_that_lives_is_not_missed_between_two_ticks(redis: Redis, valkey: Valkey) -> None:
    """Even where a job's lease is as short beside a tick as the settings allow."""
    assert ticker(valkey, lease_seconds=4, tick_seconds=1).take_lead()
    assert left(redis) > 2000


def test_one_leads_until_it_stands_down(redis: Redis, valkey: Valkey) -> None:
    first, second = ticker(valkey, 30), ticker(valkey, 30)
    assert first.take_lead()
    assert first.take_lead()
    assert not second.take_lead()
    second.release_lead()
    assert not second.take_lead(), "who does not lead cannot stand down for another"
    first.release_lead()
    assert second.take_lead()
    redis.pexpire("ticker:{rq}", 1000)
    assert second.take_lead()
    assert left(redis) > 1000, "who leads goes on leading"
