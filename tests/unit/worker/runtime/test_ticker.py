"""How many jobs the ticker lets start, and which notifications one task delivers."""

from redis import Redis

from worker.ledger.ledger import Ledger
from worker.runtime.ticker import (
    NOTIFICATIONS_PER_TASK,
    account_capacity,
    notification_groups,
)
from worker.runtime.worker_registry import announced_accounts, register_worker


def test_the_accounts_of_other_workers_count(redis: Redis) -> None:
    """While a token is added, the worker that ticks may not have it yet."""
    ledger = Ledger(redis, "rq", lease_seconds=30)
    for account in ("a", "b"):
        redis.hset(ledger.key("account", account), "window", 40)
    register_worker(ledger, "w2", 10, 60, ["a", "b"])
    assert account_capacity(ledger, ["a"], 50) == 52
    assert account_capacity(ledger, announced_accounts(ledger), 50) == 102


def test_a_task_delivers_some_results_or_one_index() -> None:
    jobs = [f"job:{number}" for number in range(NOTIFICATIONS_PER_TASK + 1)]
    groups = list(notification_groups([jobs[0], "index:b", *jobs[1:]]))
    assert groups == [["index:b"], jobs[:-1], jobs[-1:]]
