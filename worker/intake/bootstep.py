"""The boot step that consumes submissions in every worker, whatever its pool."""

import sys
from contextlib import suppress
from typing import Any, Final

import structlog
from celery import bootsteps
from celery.worker import state
from redis.exceptions import RedisError

from worker.intake.consumer import SubmissionConsumer
from worker.intake.submission_queue import ALIVE_SECONDS, QueueOwnedError, SubmissionQueue
from worker.ledger.connections.clients import connect_to_broker
from worker.runtime.periodic_thread import PeriodicThread
from worker.runtime.runtime import get_runtime

log = structlog.get_logger(__name__)

POSTPONED_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = 0.2
STOP_SECONDS: Final = 10.0
"""How long a worker that stops waits for the message that it is handling."""
BAD_USAGE: Final = 2


class IntakeStep(bootsteps.StartStopStep):
    """Starts the consumer of submissions with the worker, and stops it first."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:  # noqa: ANN401 - celery's
        """Open no connections: a prefork pool has not forked yet."""
        super().__init__(parent, **options)
        self._threads: list[PeriodicThread] = []

    def start(self, parent: Any) -> None:  # noqa: ANN401 - celery's worker
        """Start the threads.

        Raises:
            SystemExit: The queue belongs to another namespace.
        """
        runtime = get_runtime()
        settings = runtime.settings
        queue = SubmissionQueue(
            connect_to_broker(settings),
            settings.redis.submit_queue,
            settings.redis.namespace,
            runtime.owner,
        )
        consumer = SubmissionConsumer(parent.app, queue, runtime.ledger)

        def may_continue() -> bool:
            return not runtime.status.draining

        def consume() -> None:
            if may_continue():
                try:
                    queue.claim_name()
                except QueueOwnedError as error:
                    log.error("the worker stops", error=str(error))  # noqa: TRY400 - not a fault
                    # Celery's loop ends the worker with this exit status.
                    state.should_stop = BAD_USAGE  # type: ignore[assignment]
                    return
                consumer.run_once(may_continue)

        def restore() -> None:
            queue.register()
            queue.restore()

        # If the broker does not answer yet, the threads try again.
        with suppress(RedisError):
            _require_own_queue(queue)
        self._threads = [
            PeriodicThread("intake-restore", ALIVE_SECONDS / 2, restore),
            PeriodicThread("intake-postponed", POSTPONED_SECONDS, queue.put_back_postponed),
            PeriodicThread("intake", PAUSE_SECONDS, consume),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self, parent: Any) -> None:  # noqa: ARG002, ANN401 - celery's signature
        """Take no more messages. The one in progress is finished, or restored later."""
        for thread in self._threads:
            thread.stop()
        for thread in self._threads:
            thread.join(STOP_SECONDS)


def _require_own_queue(queue: SubmissionQueue) -> None:
    """Claim the queue for the worker's namespace.

    Raises:
        SystemExit: The queue belongs to another namespace.
    """
    try:
        queue.claim_name()
    except QueueOwnedError as error:
        log.error("the worker cannot start", error=str(error))  # noqa: TRY400 - not a fault
        sys.exit(BAD_USAGE)
