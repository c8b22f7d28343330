"""A snapshot of the whole service, read in two round trips however many jobs there are."""

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
    """The entries of the agenda, the polls or the outbox, which each become due at a time."""

    waiting: int
    due: int
    oldest_due_seconds: float


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """An account with its messages in flight, at a time in ms of the Redis server's clock."""

    account: Account
    in_flight: int
    now: int

    @property
    def cooling_seconds(self) -> float:
        """Seconds until the account may be used again after a 429 response."""
        return max(0, self.account.cooling_until - self.now) / 1000

    @property
    def age_seconds(self) -> float:
        """Seconds since the balance was read."""
        return max(0, self.now - self.account.read_at) / 1000


@dataclass(frozen=True, slots=True)
class ServiceSnapshot:
    """The jobs, backlogs, workers and accounts of the service at one time.

    ``ticker_silence`` is the number of seconds since the last tick; None before the first one.
    ``starts_blocked`` is the limit because of which no job starts, and for how many seconds.
    """

    states: Mapping[State, int]
    held: Mapping[Reason, int]
    clips: int
    agenda: Backlog
    outbox: Backlog
    polls: Backlog
    pending_webhooks: int
    set_aside: int
    messages_aside: int
    task_events: int
    ticker_silence: float | None
    starts_blocked: tuple[str, float] | None
    workers: LiveWorkers
    accounts: Sequence[AccountBalance]


def take_snapshot(reader: Reader, accounts: Sequence[str]) -> ServiceSnapshot:
    """Read the state of the service and of the given accounts.

    Raises:
        RedisError: The server does not answer.
    """
    now, key = reader.now_ms(), reader.key
    with reader.redis.pipeline(transaction=False) as pipe:
        pipe.hgetall(key("counts"))
        pipe.hget(key("pace"), "clips")
        pipe.hmget(key("meta"), "last_tick", "hooks", "blocked_since", "blocked_by")
        pipe.hlen(key("unreadable"))
        pipe.hlen(key("messages_aside"))
        pipe.zcard(key("task_events"))
        pipe.zrangebyscore(key("workers"), now, "+inf")
        pipe.hgetall(key("concurrency"))
        for backlog in ("agenda", "outbox", "polls"):
            pipe.zcard(key(backlog))
            pipe.zcount(key(backlog), "-inf", now)
            pipe.zrange(key(backlog), 0, 0, withscores=True)
        for name in accounts:
            pipe.hgetall(key("account", name))
            pipe.zcount(key("slots", name), now, "+inf")
        counts, clips, meta, set_aside, aside, task_events, *rest = pipe.execute()
        last_tick, hooks, blocked_since, blocked_by = meta
        alive, slots, *rest = rest
    states, held = read_counts(counts)
    records, in_flight = rest[9::2], rest[10::2]
    return ServiceSnapshot(
        states=states,
        held=held,
        clips=int_or_zero(clips),
        agenda=_backlog(rest[:3], now),
        outbox=_backlog(rest[3:6], now),
        polls=_backlog(rest[6:9], now),
        # Negative where messages were created by a version that did not count them.
        pending_webhooks=max(0, int_or_zero(hooks)),
        set_aside=set_aside,
        messages_aside=aside,
        task_events=task_events,
        ticker_silence=max(0, now - int_or_zero(last_tick)) / 1000 if last_tick else None,
        starts_blocked=(
            (str(blocked_by), max(0, now - int_or_zero(blocked_since)) / 1000)
            if blocked_since
            else None
        ),
        workers=LiveWorkers(len(alive), sum(int_or_zero(slots.get(worker)) for worker in alive)),
        accounts=[
            AccountBalance(read_account(name, record), messages, now)
            for name, record, messages in zip(accounts, records, in_flight, strict=True)
        ],
    )


def _backlog(replies: Sequence[Any], now: int) -> Backlog:
    waiting, due, first = replies
    return Backlog(waiting, due, max(0.0, (now - first[0][1]) / 1000) if first else 0.0)
