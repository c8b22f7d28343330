"""Sends the events by which Flower shows each job as one task.

The leading worker reads the present state of each job that has changed, and sends it. So the events
have one order, and are correct even if the worker that made a change has crashed. When Flower
connects, it requests a heartbeat from all workers; then the present states are sent again, slowly.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import structlog
from celery import Celery, bootsteps
from celery.events.event import Event, get_exchange
from celery.worker import control

from worker.ledger.task_events import PendingEvent, TaskEvents
from worker.runtime.leader_lease import LeaderLease
from worker.runtime.periodic_thread import PeriodicThread
from worker.runtime.runtime import Runtime, get_runtime
from worker.runtime.worker_registry import node_names
from worker.storage.errors import StoreError
from worker.telemetry.job_task import RECORD_FIELDS, JobTask, clip_key

log = structlog.get_logger(__name__)

INTERVAL_SECONDS: Final = 0.5
BATCH_SIZE: Final = 200
"""The most jobs in one message."""
REPLAYED_PER_INTERVAL: Final = 100
"""The most jobs that a replay sends in an interval: 200 a second."""

_celery_heartbeat: Final[Callable[[Any], object]] = control.Panel.data["heartbeat"]
_asked_for_replay: Final = threading.Event()
"""Set when a reader of the events, such as Flower, has connected."""


def request_replay(state: Any) -> None:  # noqa: ANN401 - Celery's state of the worker
    """Tell worker(s) to send an event heartbeat immediately, and the states of jobs again."""
    _celery_heartbeat(state)
    _asked_for_replay.set()


control.control_command(name="heartbeat")(request_replay)


class EventSender:
    """Sends the pending events of one namespace while this worker is the leader."""

    def __init__(self, app: Celery, runtime: Runtime, hostname: str) -> None:
        self._app = app
        self._runtime = runtime
        self._hostname = hostname
        self._lease = LeaderLease(runtime)
        self._events = TaskEvents(runtime.ledger)

    def run_once(self) -> None:
        """Send what has changed since the last call, and a part of a replay.

        Raises:
            RedisError: The ledger cannot be reached.
            OperationalError: The broker cannot be reached. What was not sent is sent later.
        """
        if _asked_for_replay.is_set():
            _asked_for_replay.clear()
            self._events.request_replay()
        is_full = self._runtime.status.has_events
        while is_full and self._lease.acquire():
            if jobs := self._events.begin_requested_replay():
                log.info("states of jobs are sent to Flower again", jobs=jobs)
            read_at = time.monotonic()
            changed, again = self._events.pending(BATCH_SIZE, REPLAYED_PER_INTERVAL)
            pending = changed + again
            is_full = len(changed) == BATCH_SIZE
            if pending:
                self._send(pending, read_at)

    def _send(self, pending: Sequence[PendingEvent], read_at: float) -> None:
        tasks = list(self._read(pending))
        events = list(self._built(tasks))
        if events:
            self._publish(events)
        done = list(pending)
        if time.monotonic() - read_at > self._lease.seconds:
            # Meanwhile another worker may have led, and sent newer states before these.
            self._events.send_again(pending)
            done = [event for event in pending if event.number is not None]
        reopened = {task.job_id for task in tasks if task.reopened}
        self._events.sent((event, event.job_id in reopened) for event in done)

    def _read(self, pending: Sequence[PendingEvent]) -> Iterator[JobTask]:
        records = self._events.read(pending, RECORD_FIELDS)
        batches = {record["batch"] for record in records if record.get("batch")}
        names = self._events.batch_names(batches) if batches else {}
        for event, record in zip(pending, records, strict=True):
            if record:
                batch = names.get(record["batch"], "")
                clip = self._clip_address(record)
                yield JobTask(event.job_id, record, batch, clip, is_old=event.number is None)

    def _clip_address(self, record: dict[str, str]) -> str:
        key = clip_key(record)
        # A clip name that is made from the prompt would reveal the prompt.
        if not key or "{prompt" in self._runtime.settings.storage.clip_name:
            return ""
        try:
            return self._runtime.output.url(key)
        except (StoreError, ValueError):
            return ""

    def _built(self, tasks: Sequence[JobTask]) -> Iterator[dict[str, Any]]:
        nodes = node_names(self._runtime.ledger)
        clock: Any = getattr(self._app, "clock")  # noqa: B009 - the types of Celery lack it
        for task in tasks:
            # Flower shows the worker of an event as online, so a dead worker is not named.
            hostname = nodes.get(task.record["worker"], self._hostname)
            for kind, fields in task.events():
                yield Event(
                    kind,
                    hostname=hostname,
                    pid=os.getpid(),
                    clock=clock.forward(),
                    **fields,
                )

    def _publish(self, events: list[dict[str, Any]]) -> None:
        conf = self._app.conf
        with self._app.producer_pool.acquire(block=True, timeout=5) as producer:
            exchange = get_exchange(producer.connection, name=conf.event_exchange)
            producer.publish(
                events,
                exchange=exchange.name,
                routing_key="task.multi",
                declare=[exchange],
                serializer=conf.event_serializer,
                delivery_mode=1,
                retry=False,
            )


class EventsStep(bootsteps.StartStopStep):
    """Runs the sender of events while the worker does not drain."""

    requires = ("celery.worker.components:Pool",)

    def start(self, parent: Any) -> None:  # noqa: ANN401 - Celery's worker
        """Start the thread."""
        sender = EventSender(parent.app, get_runtime(), parent.hostname)
        self._thread = PeriodicThread("events", INTERVAL_SECONDS, sender.run_once)
        self._thread.start()

    def stop(self, parent: Any) -> None:  # noqa: ARG002, ANN401 - Celery's signature
        """Stop the thread. The next leader sends what is left."""
        self._thread.stop()
