"""The whole service at a glance, read in two round trips however many jobs there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.ledger.model.accounts import Account, read_account
from worker.ledger.model.batches import read_counts
from worker.ledger.model.fields import int_or_zero
from worker.ledger.model.states import Reason, State
from worker.ledger.reader import Reader
from worker.runtime.worker_registry import LiveWorkers


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for its moment: the agenda, or the outbox."""

    waiting: int
    due: int
    oldest: float  # seconds since the first of them was due; 0 when none is


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """An account with its messages in flight, at one moment of the server's clock, in ms."""

    account: Account
    in_flight: int
    now: int

    @property
    def cooling(self) -> float:
        """Seconds that it still rests after a 429."""
        return max(0, self.account.cooling_until - self.now) / 1000

    @property
    def balance_age(self) -> float:
        """Seconds since its balance was read."""
        return max(0, self.now - self.account.read_at) / 1000


@dataclass(frozen=True, slots=True)
class ServiceSnapshot:
    """What there is, and what waits."""

    states: Mapping[State, int]
    held: Mapping[Reason, int]
    clips: int
    agenda: Backlog
    outbox: Backlog
    webhooks: int
    set_aside: int
    ticker_silence: float | None  # seconds since the last round; None before the first
    workers: LiveWorkers
    accounts: Sequence[AccountBalance]


def take_snapshot(reader: Reader, accounts: Sequence[str]) -> ServiceSnapshot:
    """Look at everything, and at the accounts that are named.

    Raises:
        RedisError: The server does not answer.
    """
    now, key = reader.now_ms(), reader.key
    with reader.redis.pipeline(transaction=False) as pipe:
        pipe.hgetall(key("counts"))
        pipe.hget(key("pace"), "clips")
        pipe.hmget(key("meta"), "last_tick", "hooks")
        pipe.hlen(key("unreadable"))
        pipe.zrangebyscore(key("workers"), now, "+inf")
        pipe.hgetall(key("concurrency"))
        for dates in ("agenda", "outbox"):
            pipe.zcard(key(dates))
            pipe.zcount(key(dates), "-inf", now)
            pipe.zrange(key(dates), 0, 0, withscores=True)
        for name in accounts:
            pipe.hgetall(key("account", name))
            pipe.zcount(key("slots", name), now, "+inf")
        counts, clips, (last_tick, hooks), set_aside, alive, slots, *rest = pipe.execute()
    states, held = read_counts(counts)
    records = rest[6:]
    return ServiceSnapshot(
        states=states,
        held=held,
        clips=int_or_zero(clips),
        agenda=_backlog(rest[:3], now),
        outbox=_backlog(rest[3:6], now),
        # Messages from before the counter was kept are owed without it.
        webhooks=max(0, int_or_zero(hooks)),
        set_aside=set_aside,
        ticker_silence=max(0, now - int_or_zero(last_tick)) / 1000 if last_tick else None,
        workers=LiveWorkers(len(alive), sum(int_or_zero(slots.get(worker)) for worker in alive)),
        accounts=[
            AccountBalance(read_account(name, records[2 * at]), records[2 * at + 1], now)
            for at, name in enumerate(accounts)
        ],
    )


def _backlog(found: Sequence[Any], now: int) -> Backlog:
    waiting, due, first = found
    return Backlog(waiting, due, max(0.0, (now - first[0][1]) / 1000) if first else 0.0)
