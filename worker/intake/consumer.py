"""Takes submissions from the queue, runs `tasks.submit`, and acknowledges what is recorded."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from billiard.einfo import ExceptionInfo
from celery import Celery, states
from celery.app.trace import build_tracer

from worker.intake.messages import MalformedMessageError, TaskMessage, read_message
from worker.intake.set_aside import SetAsideMessages
from worker.intake.submission_queue import SubmissionQueue
from worker.ledger.ledger import Ledger

log = structlog.get_logger(__name__)

SUBMIT_TASK: Final = "tasks.submit"
MOST_TRIES: Final = 5
"""A message that was being worked on when this many workers died is set aside."""


class UnstoredResultError(RuntimeError):
    """A result could not be stored. The message is handled again: the job is known by then."""


class SubmissionConsumer:
    """Handles messages one after another; whoever drives it decides when."""

    def __init__(self, app: Celery, queue: SubmissionQueue, ledger: Ledger) -> None:
        self._app: Any = app
        self._queue = queue
        self._ledger = ledger
        self._aside = SetAsideMessages(ledger)
        self._tracer: Any = None
        self._is_unsettled = True

    def run_once(self, may_continue: Callable[[], bool]) -> None:
        """Handle messages until none comes for a second.

        Args:
            may_continue: Asked before each message is taken.

        Raises:
            RedisError: The records' server or the broker cannot be reached. No message is lost.
        """
        # While the records cannot be written, nothing is taken.
        self._ledger.now_ms()
        if self._is_unsettled:
            self._queue.return_taken()
        self._is_unsettled = True
        while may_continue():
            raw = self._queue.take()
            if raw is None or not self._handle(raw):
                break
        self._is_unsettled = False

    def _handle(self, raw: bytes) -> bool:
        """Handle one message. False if it must be handled again later."""
        if self._queue.count_try(raw) > MOST_TRIES:
            self._set_aside(raw, f"{MOST_TRIES} workers died while they worked on it")
            return True
        try:
            message = read_message(raw)
        except MalformedMessageError as error:
            self._set_aside(raw, str(error))
            return True
        now = datetime.now(UTC)
        if message.task != SUBMIT_TASK:
            self._set_aside(raw, "it is not a tasks.submit")
        elif message.expires is not None and message.expires < now:
            self._app.backend.mark_as_revoked(message.id, "expired", store_result=True)
            self._queue.acknowledge(raw)
        elif message.eta is not None and message.eta > now:
            self._queue.postpone(raw, message.eta.timestamp())
        elif self._submit(message):
            self._queue.acknowledge(raw)
        else:
            self._queue.give_back(raw)
            return False
        return True

    def _submit(self, message: TaskMessage) -> bool:
        """Run the task as a Celery worker would: results, callbacks and all.

        Returns:
            False if the record could not be written.

        Raises:
            UnstoredResultError: The record is written, but the task's result is not.
        """
        if self._tracer is None:
            task = self._app.tasks[SUBMIT_TASK]
            self._tracer = build_tracer(SUBMIT_TASK, task, app=self._app, hostname="intake")
        traced = self._tracer(message.id, message.args, message.kwargs, dict(message.request))
        if traced.info is None and isinstance(traced.retval, ExceptionInfo):
            raise UnstoredResultError(type(traced.retval.exception).__name__)
        return traced.info is None or traced.info.state != states.REJECTED

    def _set_aside(self, raw: bytes, reason: str) -> None:
        message = self._aside.add(raw, reason)
        self._queue.acknowledge(raw)
        log.warning("message set aside", sha256=message.sha256, bytes=message.length, reason=reason)
