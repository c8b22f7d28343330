"""The ticker: sends wake-up messages for what is due, as many as the Celery queue has room for.

One worker at a time ticks: the one that holds the leader lease.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from celery import Celery

from config.celery import wakeup_queue
from worker.ledger.ledger import WAKEUPS_PER_LEASE, Ledger
from worker.ledger.model.states import State
from worker.ledger.pages import pages
from worker.ledger.webhooks import Webhooks
from worker.runtime.runtime import Runtime
from worker.runtime.worker_registry import announced_accounts, live_workers

TASKS: Final = {
    State.PREPARING: "tasks.prepare",
    State.GENERATING: "tasks.generate",
    State.SETTLING: "tasks.settle",
    State.RENDERING: "tasks.render",
    State.DELIVERING: "tasks.deliver",
}
"""The Celery task of each stage."""
NOTIFY_TASK: Final = "tasks.notify"
WEBHOOK_TASK: Final = "tasks.hooks"
MAX_NOTIFICATIONS_PER_TICK: Final = 200
NOTIFICATION_RETRY_SECONDS: Final = 30.0
LIVE_WORKERS_SECONDS: Final = 2.0
"""How long a reading of the worker registry is used. Workers register every few seconds."""
NOTIFICATIONS_PER_TASK: Final = 20
PREPARING_FACTOR: Final = 1.25
"""Jobs admitted for each message that the accounts may send, as some jobs are still preparing."""
PREPARING_PER_ADMITTED: Final = 4
"""Jobs that may prepare for each one that may generate: some wait long for a slow image server."""


class Ticker:
    """Dispatches jobs, notifications and webhooks by wake-up messages."""

    def __init__(self, app: Celery, runtime: Runtime) -> None:
        self._app = app
        self._runtime = runtime
        self._ledger = runtime.ledger
        self._webhooks = Webhooks(runtime.ledger)
        self._cap = runtime.settings.limits.wakeup_cap
        self._queue = wakeup_queue(runtime.settings.redis.namespace)
        self._workers_read_at = float("-inf")
        self._places = 0
        self._accounts: set[str] = set()

    def tick(self) -> None:
        """Send the wake-up messages that are due now.

        Raises:
            RedisError: The ledger cannot be reached.
            OperationalError: The broker cannot be reached. A message that was not sent becomes due
                again.
        """
        self._read_live_workers()
        places = self._places
        cap = self._runtime.settings.limits.account_in_flight
        admit = min(places, account_capacity(self._ledger, self._accounts, cap))
        with self._app.producer_pool.acquire(block=True, timeout=5) as producer:
            room = self._room(producer)
            due = self._ledger.due(
                self._cap,
                room=room,
                admit=admit,
                prepare=min(max(1, places // 2), PREPARING_PER_ADMITTED * admit),
                places=places,
                redispatch_after=self._redispatch_after(room),
            )
            self._send_wakeups(((TASKS[state], [job_id]) for job_id, state in due), producer)
            room -= len(due)
            most = max(0, min(room, MAX_NOTIFICATIONS_PER_TICK))
            entries = self._ledger.lease_notifications(most, NOTIFICATION_RETRY_SECONDS)
            groups = notification_groups(entries)
            self._send_wakeups(((NOTIFY_TASK, group) for group in groups), producer)
            # Webhooks are last and few, so that no job waits for another service's server.
            if self._runtime.status.has_webhooks and room > len(entries):
                receivers = self._webhooks.lease_receivers()
                self._send_wakeups(((WEBHOOK_TASK, [name]) for name in receivers), producer)

    def _room(self, producer: Any) -> int:  # noqa: ANN401 - kombu's
        """Return how many messages the queue has room for; the broker may be another server."""
        size = producer.channel._size(self._queue)  # noqa: SLF001 - kombu has no other
        return self._cap - int(size)

    def _redispatch_after(self, room: int) -> float:
        """Return the seconds after which a wake-up message without a claim counts as lost.

        The longer the queue, the longer a message may wait in it.
        """
        lease = self._runtime.settings.timing.lease_seconds
        queued = min(1.0, (self._cap - room) / self._cap)
        return lease / WAKEUPS_PER_LEASE * (1 - queued) + lease * queued

    def _read_live_workers(self) -> None:
        """Read the slots and accounts of the live workers, every `LIVE_WORKERS_SECONDS` at most."""
        now = time.monotonic()
        if self._places and now - self._workers_read_at < LIVE_WORKERS_SECONDS:
            return
        self._places = live_workers(self._ledger).stream_slots
        self._accounts = {*self._runtime.accounts.names(), *announced_accounts(self._ledger)}
        self._workers_read_at = now

    def _send_wakeups(
        self,
        wakeups: Iterable[tuple[str, Sequence[str]]],
        producer: Any,  # noqa: ANN401 - kombu's
    ) -> None:
        """Send messages, each with a task and its arguments, in one command."""
        with producer.channel.sending_together():
            for task, arguments in wakeups:
                self._app.send_task(
                    task,
                    args=arguments,
                    queue=self._queue,
                    producer=producer,
                    retry=False,
                    # Under REELQUEUE_STAGE_EVENTS=1, Flower links a stage with its job.
                    root_id=arguments[0].removeprefix("job:"),
                    # Otherwise Celery subscribes to the result of each message.
                    ignore_result=True,
                )


def notification_groups(entries: Iterable[str]) -> Iterator[list[str]]:
    """Group due entries of the outbox into the entries that one Celery task delivers.

    The entry of a batch takes longer, and has a task of its own.
    """
    jobs = []
    for entry in entries:
        if entry.startswith("job:"):
            jobs.append(entry)
        else:
            yield [entry]
    yield from pages(jobs, NOTIFICATIONS_PER_TASK)


def account_capacity(ledger: Ledger, names: Iterable[str], cap: int) -> int:
    """Return how many jobs may be about to pay or generating, by the windows of all accounts.

    Args:
        ledger: The ledger.
        names: The accounts of all workers. They differ between workers while a token is added.
        cap: The most messages in flight of one account.
    """
    accounts = map(ledger.account, names)
    return int(sum(min(cap, account.window) for account in accounts) * PREPARING_FACTOR) + 2
