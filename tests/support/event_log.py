"""The events that Celery's workers send on a broker, as Flower receives them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery
from celery.events.state import State

from tests.support.waiting import wait_until


class EventLog:
    """Reads the events of a broker, and keeps the state that Flower derives from them."""

    def __init__(self, app: Celery) -> None:
        self.events: list[dict[str, Any]] = []
        self.state: Any = State()
        self._app = app
        self._receiver: Any = None
        self._thread = threading.Thread(target=self._capture)
        self._thread.start()

    def of_task(self, name: str) -> list[dict[str, Any]]:
        """Return the events of the tasks of this name."""
        ids = {event["uuid"] for event in self.events if event.get("name") == name}
        return [event for event in self.events if event.get("uuid") in ids]

    def types_of(self, uuid: str) -> list[str]:
        """Return the types of the events of one task, in order."""
        return [event["type"] for event in self.events if event.get("uuid") == uuid]

    def has(self, kind: str) -> bool:
        """Whether an event of this type was received."""
        return any(event["type"] == kind for event in self.events)

    def stop(self) -> None:
        """Stop to read."""
        self._receiver.should_stop = True
        self._thread.join(30)

    def _capture(self) -> None:
        with self._app.connection() as connection:
            self._receiver = self._app.events.Receiver(connection, handlers={"*": self._take})
            self._receiver.capture(limit=None, timeout=None, wakeup=True)

    def _take(self, event: dict[str, Any]) -> None:
        # Celery adds to it.
        self.events.append(dict(event))
        self.state.event(event)


@contextmanager
def event_log(app: Celery, first: str = "worker-heartbeat") -> Iterator[EventLog]:
    """Read the events from when one of the first type has arrived."""
    log = EventLog(app)
    try:
        wait_until(lambda: log.has(first), "a first event")
        yield log
    finally:
        log.stop()
