"""How many jobs the ticker lets start."""

from redis import Redis

from worker.ledger.ledger import Ledger
from worker.runtime.ticker import account_capacity
from worker.runtime.worker_registry import register_worker


def test_the_accounts_of_other_workers_count(redis: Redis) -> None:
    """While a token is added, the worker that ticks may not have it yet."""
    ledger = Ledger(redis, "rq", lease_seconds=30)
    for account in ("a", "b"):
        redis.hset(ledger.key("account", account), "window", 40)
    alone = account_capacity(ledger, ["a"], 50)
    register_worker(ledger, "w2", 10, 60, ["a", "b"])
    assert alone == 52
    assert account_capacity(ledger, ["a"], 50) == 102
