"""The leader lease: one worker leads at a time, and a dead one is replaced before a lease ends."""

from dataclasses import replace
from itertools import count

import pytest
from pydantic import SecretStr
from redis import Redis

from config.settings import RedisSettings, Settings, TimingSettings
from tests.support.interleaved import interleaved
from tests.support.valkey import Valkey
from tests.support.waiting import wait_until
from worker.ledger.ledger import Ledger
from worker.runtime.leader_lease import MAX_LEASE_SECONDS, LeaderLease
from worker.runtime.runtime import Runtime


def leader_lease(valkey: Valkey, lease_seconds: float, tick_seconds: float = 0.5) -> LeaderLease:
    settings = Settings(
        redis=RedisSettings(url=SecretStr(valkey.url)),
        timing=TimingSettings(lease_seconds=lease_seconds, tick_seconds=tick_seconds),
    )
    return LeaderLease(Runtime.open(settings))


def remaining_ms(redis: Redis) -> int:
    """Return the milliseconds until the lease ends."""
    return redis.pttl("ticker:{rq}")


@pytest.mark.parametrize("lease_seconds", [5, 30, 600])
def test_a_dead_leader_is_replaced_within_a_third_of_a_job_lease(
    redis: Redis, valkey: Valkey, lease_seconds: float
) -> None:
    assert leader_lease(valkey, lease_seconds).acquire()
    assert 0 < remaining_ms(redis) <= min(lease_seconds / 3, MAX_LEASE_SECONDS) * 1000


def test_a_leader_keeps_the_lease_between_two_ticks(redis: Redis, valkey: Valkey) -> None:
    """Even with the shortest job lease that the settings allow for the interval of ticks."""
    lease = leader_lease(valkey, lease_seconds=4, tick_seconds=1)
    # On a busy machine a second may pass between both.
    wait_until(lambda: lease.acquire() and remaining_ms(redis) > 2000, "a lease of two ticks")


def test_one_worker_leads_until_it_releases_the_lease(redis: Redis, valkey: Valkey) -> None:
    first, second = leader_lease(valkey, 30), leader_lease(valkey, 30)
    assert first.acquire()
    assert first.acquire()
    assert not second.acquire()
    second.release()
    assert not second.acquire(), "a worker that does not lead cannot release the lease"
    first.release()
    assert second.acquire()
    redis.pexpire("ticker:{rq}", 1000)
    assert second.acquire()
    assert remaining_ms(redis) > 1000, "the leader extends its lease"


def test_a_lease_that_another_worker_takes_meanwhile_is_not_extended(
    redis: Redis, valkey: Valkey
) -> None:
    """Two leaders would dispatch the same jobs."""
    runtime = Runtime.open(Settings(redis=RedisSettings(url=SecretStr(valkey.url))))
    commands = count()

    def taken_after_the_second_command() -> None:
        if next(commands) == 1:
            redis.set("ticker:{rq}", "another", px=3000)

    client = interleaved(valkey.url, lambda: None)
    frozen = LeaderLease(replace(runtime, ledger=Ledger(client, "rq", lease_seconds=30)))
    assert frozen.acquire()
    client.meanwhile = taken_after_the_second_command
    frozen.acquire()
    if next(commands) > 1:
        assert remaining_ms(redis) <= 3000, "the lease of the other worker"


def test_a_worker_that_drains_does_not_lead(redis: Redis, valkey: Valkey) -> None:
    redis.ping()
    runtime = Runtime.open(Settings(redis=RedisSettings(url=SecretStr(valkey.url))))
    runtime.status.draining = True
    assert not LeaderLease(runtime).acquire()
