"""Deleting a key only while it has a known value."""

from redis import Redis

from worker.ledger.conditional_delete import delete_if_equal


def test_only_the_known_value_is_deleted(redis: Redis) -> None:
    redis.set("lock", "theirs")
    assert not delete_if_equal(redis, "lock", "mine")
    assert redis.get("lock") == "theirs"
    assert delete_if_equal(redis, "lock", "theirs")
    assert redis.get("lock") is None
    assert not delete_if_equal(redis, "lock", "theirs")
