"""The registry of live workers: who counts, and which accounts they have."""

from redis import Redis

from worker.ledger.ledger import Ledger
from worker.runtime.worker_registry import (
    announced_accounts,
    live_workers,
    register_worker,
    registered_name,
    unregister_worker,
)


def test_two_workers_of_one_node_name_count_as_two(redis: Redis) -> None:
    ledger = Ledger(redis, "t", lease_seconds=30)
    first, second = (registered_name("worker@host", owner) for owner in ("a", "b"))
    register_worker(ledger, first, 10, 60)
    register_worker(ledger, second, 20, 60)
    assert live_workers(ledger).slots == 30
    unregister_worker(ledger, first)
    assert (live_workers(ledger).count, live_workers(ledger).slots) == (1, 20)


def test_an_account_has_a_live_worker_as_long_as_one_announces_it(redis: Redis) -> None:
    ledger = Ledger(redis, "t", lease_seconds=30)
    assert "account-2" not in announced_accounts(ledger)
    register_worker(ledger, "old", 1, 60, ["account-1"])
    register_worker(ledger, "new", 1, 60, ["account-1", "account-2"])
    assert "account-2" in announced_accounts(ledger)
    unregister_worker(ledger, "new")
    assert "account-2" not in announced_accounts(ledger)
    register_worker(ledger, "dead", 1, -1, ["account-2"])
    assert "account-2" not in announced_accounts(ledger)
