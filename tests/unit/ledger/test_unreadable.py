"""A record that cannot be read is set aside with its reason, and stops nobody."""

from collections.abc import Callable, Mapping

import pytest
from redis import Redis

from tests.unit.ledger.conftest import LEASE, House
from worker.ledger import records
from worker.ledger.states import Reason, State

KEY = "job:{t}:bad"


def foreign(redis: Redis) -> None:
    redis.set(KEY, "not a record")


def cut_short(redis: Redis) -> None:
    redis.delete(KEY)
    redis.hset(KEY, "payload", "{}")


def newer(redis: Redis) -> None:
    redis.hset(KEY, "v", "99")


def bad_payload(redis: Redis) -> None:
    redis.hset(KEY, "payload", '{"image": ')


def bombed(redis: Redis) -> None:
    redis.hset(KEY, "payload", "[" * 100_000)


def list_for_payload(redis: Redis) -> None:
    redis.hset(KEY, "payload", "[1]")


DAMAGES = [foreign, cut_short, newer, bad_payload, bombed, list_for_payload]


@pytest.mark.parametrize("damage", DAMAGES)
def test_lists_show_what_is_left_of_it(house: House, damage: Callable[[Redis], None]) -> None:
    for name in ("a", "bad", "z"):
        house.submit(name)
    damage(house.redis)
    found = list(house.ledger.jobs(["a", "bad", "z", "gone"]))
    assert [job.id for job in found] == ["a", "bad", "z"]
    assert found[1].reason is Reason.POISON
    assert found[1].message.startswith("This job's record cannot be read: ")
    with pytest.raises(records.UnreadableRecordError):
        house.ledger.job("bad")


@pytest.mark.parametrize("damage", [foreign, cut_short])
@pytest.mark.parametrize("admitted", [False, True])
def test_the_ticker_hands_out_the_others(
    house: House, damage: Callable[[Redis], None], admitted: bool
) -> None:
    """In its flow and on the agenda; the ticker made its rounds meanwhile."""
    house.submit("bad")
    if admitted:
        assert house.admit() == ["bad"]
    damage(house.redis)
    house.submit("good")
    assert house.admit() == ["good"]
    house.later(LEASE / 2)
    house.admit()
    house.later(LEASE / 2 + 1)
    assert house.admit() == ["good"]
    assert house.redis.zscore("agenda:{t}", "bad") is None
    verdict = house.ledger.claim("bad", "w", "n").verdict
    assert verdict == ("UNREADABLE" if house.redis.exists(KEY) else "GONE")
    if damage is foreign or admitted:
        assert house.redis.hget("unreadable:{t}", "bad")


def test_a_record_of_the_version_before_is_read(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def from_0(fields: Mapping[str, str]) -> Mapping[str, str]:
        return {**fields, "payload": f'{{"image": "{fields["image"]}"}}'}

    monkeypatch.setitem(records.UPGRADES, 0, from_0)
    house.submit("old")
    house.redis.hdel("job:{t}:old", "payload")
    house.redis.hset("job:{t}:old", mapping={"v": "0", "image": "cat.jpg"})
    job = house.ledger.job("old")
    assert job is not None
    assert (job.payload, job.state) == ({"image": "cat.jpg"}, State.QUEUED)
