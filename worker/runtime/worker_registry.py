"""The registry of live workers: their slots and accounts, and why they do not pay."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from worker.ledger.ledger import Ledger
from worker.ledger.model.fields import int_or_zero
from worker.ledger.reader import Reader

STREAM_SHARE: Final = 0.8
"""Maximum share of all slots for jobs between prepare and settle: a stream holds its slot for
minutes, and the rest must stay free for polls."""
FORGET_AFTER_MS: Final = 600_000
"""How long the entries of a dead worker are kept."""


@dataclass(frozen=True, slots=True)
class LiveWorkers:
    """The number of live workers, and of all their slots."""

    count: int
    slots: int

    @property
    def stream_slots(self) -> int:
        """Maximum number of jobs between prepare and settle; at least 1 if there is a worker."""
        return max(1, int(self.slots * STREAM_SHARE)) if self.slots else 0


def registered_name(hostname: str, owner: str) -> str:
    """Return the name of a process in the registry: two workers can have the same node name."""
    return f"{hostname}#{owner}"


def register_worker(
    ledger: Ledger,
    worker: str,
    slots: int,
    seconds: float,
    accounts: Sequence[str] = (),
    *,
    why_not_pay: str = "",
) -> None:
    """Record that a worker is alive, and takes work, for the next seconds.

    Args:
        ledger: The ledger.
        worker: The worker's name in the registry.
        slots: How many steps it runs at a time.
        seconds: How long the entry lasts.
        accounts: The accounts that it has tokens of.
        why_not_pay: Why it sends no paid messages; empty if it does.
    """
    until = ledger.now_ms() + int(seconds * 1000)
    with ledger.redis.pipeline() as pipe:
        pipe.zadd(ledger.key("workers"), {worker: until})
        pipe.hset(ledger.key("concurrency"), worker, slots)
        pipe.hset(ledger.key("worker_accounts"), worker, " ".join(accounts))
        pipe.hset(ledger.key("worker_obstacles"), worker, why_not_pay)
        pipe.execute()


def unregister_worker(ledger: Ledger, worker: str) -> None:
    """Record that a worker takes no more work."""
    with ledger.redis.pipeline() as pipe:
        pipe.zrem(ledger.key("workers"), worker)
        for fields in ("concurrency", "worker_accounts", "worker_obstacles", "worker_stores"):
            pipe.hdel(ledger.key(fields), worker)
        pipe.execute()


def record_node(ledger: Ledger, worker: str, seconds: float) -> None:
    """Record that a process is alive for the next seconds, even if it takes no more work.

    Args:
        ledger: The ledger.
        worker: The worker's name in the registry.
        seconds: How long the entry lasts.
    """
    hostname, _, owner = worker.rpartition("#")
    until = ledger.now_ms() + int(seconds * 1000)
    ledger.redis.hset(ledger.key("nodes"), owner, f"{until} {hostname}")


def forget_node(ledger: Ledger, worker: str) -> None:
    """Record that a process ends."""
    ledger.redis.hdel(ledger.key("nodes"), worker.rpartition("#")[2])


def node_names(ledger: Ledger) -> dict[str, str]:
    """Return the node name of each live process by its owner id; forget those long dead."""
    now, found, dead = ledger.now_ms(), {}, []
    for owner, entry in ledger.redis.hgetall(ledger.key("nodes")).items():
        until, _, hostname = entry.partition(" ")
        if int_or_zero(until) >= now:
            found[owner] = hostname
        elif int_or_zero(until) < now - FORGET_AFTER_MS:
            dead.append(owner)
    if dead:
        ledger.redis.hdel(ledger.key("nodes"), *dead)
    return found


def live_entries(ledger: Reader, kind: str) -> list[str | None]:
    """Return what each live worker has recorded under a kind, such as ``worker_accounts``."""
    alive = ledger.redis.zrangebyscore(ledger.key("workers"), ledger.now_ms(), "+inf")
    return ledger.redis.hmget(ledger.key(kind), alive) if alive else []


def announced_accounts(ledger: Reader) -> frozenset[str]:
    """Return the accounts that the live workers have tokens of."""
    announced = live_entries(ledger, "worker_accounts")
    return frozenset(chain.from_iterable((names or "").split() for names in announced))


def live_workers(ledger: Ledger) -> LiveWorkers:
    """Count the live workers, and delete the entries of those that died long ago."""
    now, key = ledger.now_ms(), ledger.key("workers")
    for worker in ledger.redis.zrangebyscore(key, "-inf", now - FORGET_AFTER_MS):
        unregister_worker(ledger, worker)
    alive = ledger.redis.zrangebyscore(key, now, "+inf")
    slots = ledger.redis.hmget(ledger.key("concurrency"), alive) if alive else []
    return LiveWorkers(len(alive), sum(int(n or 0) for n in slots))
