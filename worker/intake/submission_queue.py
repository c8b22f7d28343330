"""The queue of `tasks.submit` on the broker, from which no message is lost by a crash.

A worker moves a message into a list of its own before it works on it, and deletes it there when
the job's record is written. In the same transaction it registers itself: a list whose worker has
died is put back into the queue by another worker. A message that comes while workers wait arrives
in a list that all share, because a command that waits cannot be part of a transaction.

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
"""How long a worker counts as alive after it said so."""
FORGET_SECONDS: Final = 86400.0
"""How long the list of a dead worker is looked at: it may have been frozen, and go on."""
BLOCK_SECONDS: Final = 1.0
"""How long one request waits for a message."""


class QueueOwnedError(Exception):
    """The queue belongs to the workers of another namespace."""


class SubmissionQueue:
    """The submissions of one namespace.

    Args:
        broker: A client of the broker that does not decode.
        name: The name of the queue.
        namespace: The namespace whose jobs these become.
        worker: The id of this process.
    """

    def __init__(self, broker: Redis, name: str, namespace: str, worker: str) -> None:
        # The types of the client do not tell a client of bytes from one of text.
        self._broker: Any = broker
        self._name = name
        self._namespace = namespace
        self._worker = worker
        self._taken = self._key("taken", worker)
        self._arrived = self._key("arrived")
        self._lists = [self._arrived, *(name + suffix for suffix in PRIORITY_LISTS)]
        self._was_empty = False

    def claim_name(self) -> None:
        """See that the queue is this namespace's.

        Raises:
            QueueOwnedError: Another namespace reads it.
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

        The list of a worker that is not registered is not restored: a flush may have deleted its
        registration a moment ago.
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
        """Return a message that this worker has taken and that is not settled, or None.

        It takes one message at a time. One is left where the reply to taking it was lost, or where
        an older copy of the broker's data has brought back one that was settled.
        """
        raw = self._broker.lindex(self._taken, -1)
        return None if raw is None else bytes(raw)

    def acknowledge(self, raw: bytes) -> None:
        """Delete a message that is done with."""
        with self._broker.pipeline() as pipe:
            pipe.lrem(self._taken, 1, raw)
            pipe.hdel(self._key("tries"), _digest(raw))
            pipe.execute()

    def give_back(self, raw: bytes) -> None:
        """Return a message to the head of the queue. It does not count as a try."""
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
        """Count a try of a message. A worker that dies over it leaves its try counted."""
        return int(self._broker.hincrby(self._key("tries"), _digest(raw), 1))

    def register(self) -> None:
        """Say that this worker is alive, so that nobody takes its messages."""
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
                # The broker's clock was set back. A worker that is alive says so again.
                self._broker.zadd(workers, {name: now}, xx=True)
            elif silent > ALIVE_SECONDS:
                restored += self._put_back(name.decode("utf-8", "replace"))
                if silent > FORGET_SECONDS:
                    self._broker.zrem(workers, name)
        return restored

    def put_back_postponed(self) -> int:
        """Put back the messages whose time has come, and return how many, as `restore`."""
        restored = 0
        for raw in self._broker.zrangebyscore(self._key("later"), "-inf", time.time()):
            with self._broker.pipeline() as pipe:
                pipe.rpush(self._name, raw)
                pipe.zrem(self._key("later"), raw)
                pipe.execute()
            restored += 1
        return restored

    def length(self) -> int:
        """How many messages wait."""
        return sum(self._broker.llen(name) for name in self._lists)

    def return_taken(self) -> int:
        """Put back what this worker took and did not settle. It takes nothing meanwhile."""
        return self._put_back(self._worker)

    def _now(self) -> float:
        """The broker's clock, in seconds."""
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
    """The messages that wait in any queue, the oldest first, without taking them."""
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
