"""The queue of `tasks.submit` on the broker, from which no message is lost by a crash.

A worker moves a message into a list of its own before it handles it, and deletes it there when the
job's record is written. In the transaction of the move it registers itself, so that another worker
puts the messages in the list back into the queue if it dies. A message that arrives while workers
wait is moved into a list that all share, because a blocking command cannot be in a transaction.

The queue has the form in which Celery's senders write it, one list for each priority.
"""

import hashlib
import time
from collections.abc import Iterator
from typing import Any, Final

from redis import Redis

PRIORITY_LISTS: Final = ("", "\x06\x163", "\x06\x166", "\x06\x169")
"""What kombu appends to the queue's name for each of its priority steps; the first is highest."""
ALIVE_SECONDS: Final = 5.0
"""How long a worker counts as alive after it has registered."""
FORGET_SECONDS: Final = 86400.0
"""How long the list of a dead worker is checked: the worker may have been frozen, and continue."""
BLOCK_SECONDS: Final = 1.0
"""How long one request waits for a message."""


class QueueOwnedError(Exception):
    """The queue belongs to the workers of another namespace."""


class SubmissionQueue:
    """The submissions of one namespace.

    Args:
        broker: A client of the broker that does not decode replies.
        name: The name of the queue.
        namespace: The namespace whose jobs these become.
        worker: The id of this process.
    """

    def __init__(self, broker: Redis, name: str, namespace: str, worker: str) -> None:
        # redis-py's types do not say whether a client decodes replies.
        self._broker: Any = broker
        self._name = name
        self._namespace = namespace
        self._worker = worker
        self._taken = self._key("taken", worker)
        self._arrived = self._key("arrived")
        self._lists = [self._arrived, *(name + suffix for suffix in PRIORITY_LISTS)]
        self._was_empty = False

    def claim_name(self) -> None:
        """Claim the queue for this namespace, unless that was done before.

        Raises:
            QueueOwnedError: Another namespace has claimed it.
        """
        key = f"reelqueue.owner:{self._name}"
        found = self._broker.set(key, self._namespace, nx=True, get=True)
        owner = self._namespace if found is None else found.decode("utf-8", "replace")
        if owner != self._namespace:
            raise QueueOwnedError(
                f"The queue {self._name} belongs to the namespace {owner}, not to "
                f"{self._namespace}: both would take each other's jobs. Set REELQUEUE_QUEUE to a "
                "queue of this namespace's own."
            )

    def take(self) -> bytes | None:
        """Move the next message into this worker's own list. Waits at most `BLOCK_SECONDS`.

        Returns:
            The message as it was sent, or None if there is none.
        """
        if not self._was_empty or self._broker.exists(*self._lists):
            raw = self._take_first()
            if raw is not None:
                self._was_empty = False
                return raw
        found = self._broker.blmove(self._name, self._arrived, BLOCK_SECONDS, "RIGHT", "LEFT")
        self._was_empty = found is None
        return None if found is None else self._take_first()

    def _take_first(self) -> bytes | None:
        """Take the first message of the first list that has one, and register this worker.

        Only the lists of registered workers are restored, and a flush may just have deleted the
        registration.
        """
        now = self._now()
        for name in self._lists:
            with self._broker.pipeline() as pipe:
                pipe.zadd(self._key("workers"), {self._worker: now})
                pipe.lmove(name, self._taken, "RIGHT", "LEFT")
                raw = pipe.execute()[1]
            if raw is not None:
                return bytes(raw)
        return None

    def unfinished(self) -> bytes | None:
        """Return a message that this worker has taken and not finished, or None.

        A worker takes one message at a time. One is unfinished if the reply to taking it was lost,
        or if an older copy of the broker's data has brought back a finished one.
        """
        raw = self._broker.lindex(self._taken, -1)
        return None if raw is None else bytes(raw)

    def acknowledge(self, raw: bytes) -> None:
        """Delete a message that was handled."""
        with self._broker.pipeline() as pipe:
            pipe.lrem(self._taken, 1, raw)
            pipe.hdel(self._key("tries"), _digest(raw))
            pipe.execute()

    def give_back(self, raw: bytes) -> None:
        """Return a message to the head of the queue. Its last try does not count."""
        with self._broker.pipeline() as pipe:
            pipe.rpush(self._name, raw)
            pipe.lrem(self._taken, 1, raw)
            pipe.hincrby(self._key("tries"), _digest(raw), -1)
            pipe.execute()

    def postpone(self, raw: bytes, until: float) -> None:
        """Return a message to the queue at a time (seconds since the epoch)."""
        with self._broker.pipeline() as pipe:
            pipe.zadd(self._key("later"), {raw: until})
            pipe.lrem(self._taken, 1, raw)
            pipe.hdel(self._key("tries"), _digest(raw))
            pipe.execute()

    def put(self, raw: bytes) -> None:
        """Append a message at the end of the queue."""
        self._broker.lpush(self._name, raw)

    def count_try(self, raw: bytes) -> int:
        """Count a try of a message before it is handled, and return the number of its tries."""
        return int(self._broker.hincrby(self._key("tries"), _digest(raw), 1))

    def register(self) -> None:
        """Register this worker as alive, so that no other worker puts its messages back."""
        self._broker.zadd(self._key("workers"), {self._worker: self._now()})

    def restore(self) -> int:
        """Put back the messages of dead workers.

        Safe to run in several workers at the same time, and again after a crash.

        Returns:
            How many messages were put back.
        """
        restored, now, workers = 0, self._now(), self._key("workers")
        for name, seen in self._broker.zrange(workers, 0, -1, withscores=True):
            silent = now - seen
            if silent < 0:
                # The broker's clock was set back. A worker that is alive registers again.
                self._broker.zadd(workers, {name: now}, xx=True)
            elif silent > ALIVE_SECONDS:
                restored += self._put_back(name.decode("utf-8", "replace"))
                if silent > FORGET_SECONDS:
                    self._broker.zrem(workers, name)
        return restored

    def put_back_postponed(self) -> int:
        """Put back the postponed messages that are due, and return how many."""
        restored = 0
        for raw in self._broker.zrangebyscore(self._key("later"), "-inf", time.time()):
            with self._broker.pipeline() as pipe:
                pipe.rpush(self._name, raw)
                pipe.zrem(self._key("later"), raw)
                pipe.execute()
            restored += 1
        return restored

    def return_taken(self) -> int:
        """Put back what this worker took and did not finish. It must take nothing meanwhile."""
        return self._put_back(self._worker)

    def _now(self) -> float:
        """Return the time of the broker's clock, in seconds."""
        seconds, microseconds = self._broker.time()
        return float(seconds + microseconds / 1e6)

    def _put_back(self, worker: str) -> int:
        restored = 0
        taken = self._key("taken", worker)
        while self._broker.lmove(taken, self._name, "LEFT", "RIGHT") is not None:
            restored += 1
        return restored

    def _key(self, kind: str, name: str | None = None) -> str:
        key = f"intake.{kind}:{{{self._namespace}}}"
        return key if name is None else f"{key}:{name}"


def messages_in(broker: Redis, queue: str, most: int) -> Iterator[bytes]:
    """Yield the waiting messages of any queue, the oldest first, without taking them."""
    client: Any = broker
    for suffix in PRIORITY_LISTS:
        yield from reversed(client.lrange(queue + suffix, -most, -1))


def move_message(broker: Redis, raw: bytes, source: str, queue: str) -> None:
    """Move one message from one queue to the end of another."""
    client: Any = broker
    with client.pipeline() as pipe:
        pipe.lpush(queue, raw)
        for suffix in PRIORITY_LISTS:
            pipe.lrem(source + suffix, -1, raw)
        pipe.execute()


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
