"""The ticker: hands out what is due, never more than the Celery queue has room for.

Every worker has one; a short lease in Redis decides which is active. It moves the outbox too,
and lets the treasury make its round.
"""

from typing import Any, Final

from celery import Celery

from config.celery import wakeup_queue
from worker.faultpoints import around
from worker.ledger.ledger import WAKEUPS_PER_LEASE
from worker.ledger.model.states import State
from worker.ledger.webhooks import Webhooks
from worker.runtime.runtime import Runtime
from worker.runtime.worker_registry import live_workers

STAGE_OF: Final = {
    State.PREPARING: "tasks.prepare",
    State.GENERATING: "tasks.generate",
    State.SETTLING: "tasks.settle",
    State.RENDERING: "tasks.render",
    State.DELIVERING: "tasks.deliver",
}
NOTIFY: Final = "tasks.notify"
HOOKS: Final = "tasks.hooks"
NOTIFICATIONS_PER_TICK: Final = 200
NOTIFY_AGAIN_SECONDS: Final = 30.0
PREPARING_FACTOR: Final = 1.25
LEADER_SECONDS: Final = 5.0
"""The longest that nobody leads after a leader died."""
LEADER_SHARE: Final = 6
"""Of a job's lease at most this part: a dead leader's jobs must find another one."""


class Ticker:
    """One round at a time; whoever drives it decides when."""

    def __init__(self, app: Celery, runtime: Runtime) -> None:
        """Open nothing yet."""
        self._app = app
        self._runtime = runtime
        self._ledger = runtime.ledger
        self._hooks = Webhooks(runtime.ledger)
        self._cap = runtime.settings.limits.wakeup_cap
        settings = runtime.settings
        shortest = 3 * settings.timing.tick_seconds
        wanted = min(LEADER_SECONDS, settings.timing.lease_seconds / LEADER_SHARE)
        self._lease_ms = int(max(shortest, wanted) * 1000)
        self._queue = wakeup_queue(runtime.settings.redis.namespace)

    def tick(self) -> int:
        """Make one round, if this worker leads.

        Returns:
            The number of hints that were sent.

        Raises:
            RedisError: The records cannot be reached.
            OperationalError: The queue cannot be reached. What was not sent comes up again after
                its grace.
        """
        return self._dispatch() if self.take_lead() else 0

    def take_lead(self) -> bool:
        """Take or keep the ticker's lease."""
        key, owner = self._ledger.key("ticker"), self._runtime.owner
        redis = self._ledger.redis
        if redis.set(key, owner, nx=True, px=self._lease_ms):
            return True
        if redis.get(key) != owner:
            return False
        redis.pexpire(key, self._lease_ms)
        return True

    def release_lead(self) -> None:
        """Give the lease back, so that another worker leads at once."""
        key = self._ledger.key("ticker")
        if self._ledger.redis.get(key) == self._runtime.owner:
            self._ledger.redis.delete(key)

    def room(self) -> int:
        """Free places in the Celery queue, asked of the broker, which may be another server."""
        with self._app.connection_for_read() as connection:
            channel: Any = connection.default_channel
            return self._cap - int(channel._size(self._queue))  # noqa: SLF001 - kombu has no other

    def _dispatch(self) -> int:
        room = self.room()
        admit = min(live_workers(self._ledger).stream_slots, self._in_flight())
        due = self._ledger.due(
            self._cap, room=room, admit=admit, redispatch_after=self._redispatch_after(room)
        )
        with self._app.producer_pool.acquire(block=True, timeout=5) as producer:
            for job_id, state in due:
                self._send_wakeup(STAGE_OF[state], job_id, producer)
            untold = self._ledger.pending_notifications(
                max(0, min(room - len(due), NOTIFICATIONS_PER_TICK))
            )
            for entry in untold:
                self._ledger.postpone_notification(entry, NOTIFY_AGAIN_SECONDS)
                self._send_wakeup(NOTIFY, entry, producer)
            # They come last and are few: no job waits for somebody else's server.
            receivers = self._hooks.lease_receivers() if room > len(due) + len(untold) else []
            for receiver in receivers:
                self._send_wakeup(HOOKS, receiver, producer)
        return len(due) + len(untold) + len(receivers)

    def _redispatch_after(self, room: int) -> float:
        """Seconds until a hint that led to no claim counts as lost.

        The longer the queue, the longer a hint may wait in it without being lost.
        """
        lease = self._runtime.settings.timing.lease_seconds
        waiting = min(1.0, (self._cap - room) / self._cap)
        return lease / WAKEUPS_PER_LEASE * (1 - waiting) + lease * waiting

    def _in_flight(self) -> int:
        """The jobs that the accounts bear at once, and a few that get ready meanwhile."""
        cap = self._runtime.settings.limits.account_in_flight
        accounts = map(self._ledger.account, self._runtime.accounts.names())
        return int(sum(min(cap, account.window) for account in accounts) * PREPARING_FACTOR) + 2

    def _send_wakeup(self, task: str, argument: str, producer: Any) -> None:  # noqa: ANN401
        with around("wakeup"):
            self._app.send_task(
                task, args=[argument], queue=self._queue, producer=producer, retry=False
            )
