"""Which jobs' states are to be sent to Flower, and the replay for a Flower that has missed some.

- ``task_events:{ns}`` has each job that has changed, with a number that is new at each change.
- ``task_replay:{ns}`` has the jobs that are sent again, as there is time.
- ``task_rows:{ns}`` has the jobs that were sent within the last hour, with the time.
- ``task_replay_at:{ns}`` is the time at which a requested replay begins.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import ResponseError

from worker.ledger.conditional_delete import delete_if_equal
from worker.ledger.connections.connection import replies
from worker.ledger.ledger import Ledger
from worker.ledger.model.fields import int_or_zero
from worker.ledger.pages import PAGE_SIZE, pages

REPLAY_DELAY_MS: Final = 2000
"""From a request to its replay, because each worker records the request of the same Flower."""
REPLAYED_MS: Final = 3_600_000
"""How long after its last event a job that neither runs nor is held takes part in a replay."""


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """A job whose state is to be sent.

    Attributes:
        job_id: The job.
        number: The number of its change; None in a replay.
    """

    job_id: str
    number: int | None = None


class TaskEvents:
    """The pending events of one namespace. One worker at a time, the leader, sends them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._redis = ledger.redis
        self._events = ledger.key("task_events")
        self._replay = ledger.key("task_replay")
        self._rows = ledger.key("task_rows")
        self._replay_at = ledger.key("task_replay_at")

    def pending(self, events: int, replayed: int) -> tuple[list[PendingEvent], list[PendingEvent]]:
        """Return the oldest changes and, if there are no more, the first jobs of a replay."""
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.zrange(self._events, 0, events - 1, withscores=True)
            pipe.zrange(self._replay, 0, replayed - 1)
            changed, again = pipe.execute()
        changes = [PendingEvent(job_id, int(number)) for job_id, number in changed]
        return changes, [] if len(changes) == events else [PendingEvent(id_) for id_ in again]

    def read(self, pending: Iterable[PendingEvent], fields: Sequence[str]) -> list[dict[str, str]]:
        """Return fields of the jobs' records, absent ones as ""; of a record that is gone, none."""
        with self._redis.pipeline(transaction=False) as pipe:
            for event in pending:
                pipe.hmget(self._ledger.key("job", event.job_id), *fields)
            found = replies(pipe)
        return [
            {name: value or "" for name, value in zip(fields, values, strict=True)}
            if isinstance(values, list) and any(values)
            else {}
            for values in found
        ]

    def batch_names(self, batch_ids: Iterable[str]) -> dict[str, str]:
        """Return the names of batches."""
        asked = sorted(set(batch_ids))
        with self._redis.pipeline(transaction=False) as pipe:
            for batch_id in asked:
                pipe.hget(self._ledger.key("batch", batch_id), "name")
            found = replies(pipe)
        return {
            batch_id: name
            for batch_id, name in zip(asked, found, strict=True)
            if isinstance(name, str)
        }

    def sent(self, pending: Iterable[tuple[PendingEvent, bool]]) -> None:
        """Take jobs off those that are to be sent, unless they have changed since.

        Args:
            pending: The jobs, each with whether an event was sent that the job has left its end.
        """
        sent = list(pending)
        arguments: list[Any] = []
        for event, reopened in sent:
            if event.number is not None:
                arguments += (event.job_id, event.number, int(reopened))
        if arguments:
            self._ledger.scripts.run("events_sent", *arguments)
        now = self._ledger.now_ms()
        with self._redis.pipeline(transaction=False) as pipe:
            for event, _ in sent:
                if event.number is None:
                    pipe.zrem(self._replay, event.job_id)
            if sent:
                pipe.zadd(self._rows, {event.job_id: now for event, _ in sent})
            pipe.zremrangebyscore(self._rows, "-inf", now - REPLAYED_MS)
            pipe.execute()

    def send_again(self, pending: Iterable[PendingEvent]) -> None:
        """Add jobs to the replay: another worker may have sent newer states of them before."""
        now = self._ledger.now_ms()
        self._redis.zadd(self._replay, {event.job_id: now for event in pending})

    def request_replay(self) -> None:
        """Record that a Flower has begun to receive events, and may have missed earlier ones."""
        self._redis.set(self._replay_at, self._ledger.now_ms() + REPLAY_DELAY_MS)

    def _held(self, key: str) -> Iterator[str]:
        """Read a set of held jobs, some at a time."""
        try:
            yield from self._redis.sscan_iter(key, count=PAGE_SIZE)
        except ResponseError:
            return  # its key holds something else

    def begin_requested_replay(self) -> int:
        """Begin a replay that is due, and return the number of its jobs.

        They are the running jobs, then the held ones, then those with an event within the last
        hour, newest first.
        """
        asked = self._redis.get(self._replay_at)
        if asked is None or int_or_zero(asked) > (now := self._ledger.now_ms()):
            return 0
        holds = [str(key) for key in self._redis.smembers(self._ledger.key("holds"))]
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.zrange(self._ledger.key("agenda"), 0, -1)
            pipe.zrange(self._rows, "+inf", now - REPLAYED_MS, desc=True, byscore=True)
            running, recent = (reply if isinstance(reply, list) else [] for reply in replies(pipe))
        # A hundred thousand may be held: reading them in one call would block the server.
        held = (job_id for key in holds for job_id in self._held(key))
        places = {str(job_id): 0 for ids in (running, held, recent) for job_id in ids}
        numbered = {job_id: place for place, job_id in enumerate(places)}
        for page in pages(numbered):
            self._redis.zadd(self._replay, {job_id: numbered[job_id] for job_id in page})
        delete_if_equal(self._redis, self._replay_at, asked)
        return len(numbered)
