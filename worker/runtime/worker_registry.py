"""The workers that are alive, and how many slots each has."""

from dataclasses import dataclass

from worker.ledger.ledger import Ledger

STREAM_SHARE = 0.8
"""The share of all slots that jobs between prepare and settle may take: a stream holds its slot
for minutes, and the rest must be free for polls."""


@dataclass(frozen=True, slots=True)
class LiveWorkers:
    """A view of all live workers."""

    count: int
    slots: int

    @property
    def stream_slots(self) -> int:
        """The most jobs between prepare and settle; at least one, so that a tiny worker works."""
        return max(1, int(self.slots * STREAM_SHARE)) if self.slots else 0


def register_worker(ledger: Ledger, worker: str, slots: int, seconds: float) -> None:
    """Say that a worker is alive, for so many seconds from now."""
    until = ledger.now_ms() + int(seconds * 1000)
    with ledger.redis.pipeline() as pipe:
        pipe.zadd(ledger.key("workers"), {worker: until})
        pipe.hset(ledger.key("concurrency"), worker, slots)
        pipe.execute()


def unregister_worker(ledger: Ledger, worker: str) -> None:
    """Say that a worker takes no more work."""
    with ledger.redis.pipeline() as pipe:
        pipe.zrem(ledger.key("workers"), worker)
        pipe.hdel(ledger.key("concurrency"), worker)
        pipe.execute()


def live_workers(ledger: Ledger) -> LiveWorkers:
    """Who is alive. Those long gone are forgotten."""
    now = ledger.now_ms()
    gone = ledger.redis.zrangebyscore(ledger.key("workers"), "-inf", now - 600_000)
    for worker in gone:
        unregister_worker(ledger, worker)
    alive = ledger.redis.zrangebyscore(ledger.key("workers"), now, "+inf")
    if not alive:
        return LiveWorkers(0, 0)
    slots = ledger.redis.hmget(ledger.key("concurrency"), alive)
    return LiveWorkers(len(alive), sum(int(n or 0) for n in slots))
