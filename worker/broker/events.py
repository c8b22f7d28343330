"""Celery's events, each published in one attempt, so that none delays a worker."""

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from celery.app.events import Events
from celery.events.dispatcher import EventDispatcher

EVENTS: Final = "worker.broker.events:SingleAttemptEvents"


class SingleAttemptDispatcher(EventDispatcher):
    """Tries once to publish an event, and keeps it for the next connection if that fails.

    By default, Celery retries a worker's heartbeat until the broker answers, and holds the lock of
    the dispatcher meanwhile. A worker that is stopped while Redis is away would wait for that lock,
    and never exit.
    """

    _outbound_buffer: deque[tuple[Mapping[str, Any], str]]

    def _publish(
        self,
        event: Mapping[str, Any],
        producer: Any,  # noqa: ANN401 - kombu's
        routing_key: str,
        retry: bool = False,  # noqa: ARG002 - Celery's signature
        **options: Any,  # noqa: ANN401 - Celery's
    ) -> None:
        kept = len(self._outbound_buffer)
        super()._publish(event, producer, routing_key, retry=False, **options)  # type: ignore[misc]
        if routing_key == "worker.heartbeat" and len(self._outbound_buffer) > kept:
            self._outbound_buffer.pop()  # the next heartbeat says the same, and more recently


class SingleAttemptEvents(Events):
    """Celery's events with this dispatcher."""

    dispatcher_cls = "worker.broker.events:SingleAttemptDispatcher"
