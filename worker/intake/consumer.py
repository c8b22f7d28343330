"""Takes submissions from the queue, runs `tasks.submit`, and acknowledges what is recorded."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from celery import Celery, signals, states
from celery.app.trace import build_tracer
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from worker.faultpoints import faultpoint
from worker.intake.messages import MalformedMessageError, TaskMessage, read_message
from worker.intake.set_aside import SetAsideMessages
from worker.intake.submission_queue import SubmissionQueue
from worker.ledger.ledger import Ledger

log = structlog.get_logger(__name__)

SUBMIT_TASK: Final = "tasks.submit"
MAX_TRIES: Final = 5
"""A message is set aside after this many workers have died or failed while they handled it."""
OUTAGES: Final = (RedisError, OperationalError, OSError)
"""Errors that do not depend on the message: it is handled again after the outage."""


class SubmissionConsumer:
    """Handles the messages of the queue, one after another."""

    def __init__(self, app: Celery, queue: SubmissionQueue, ledger: Ledger) -> None:
        self._app: Any = app
        self._queue = queue
        self._ledger = ledger
        self._aside = SetAsideMessages(ledger)
        self._tracer: Any = None
        self._may_have_unfinished = True
        self._internal_error: Exception | None = None
        signals.task_internal_error.connect(self._note_internal_error)

    def run_once(self, may_continue: Callable[[], bool]) -> None:
        """Handle messages until none arrives for a second.

        Args:
            may_continue: Called before each message is taken; False ends the call.

        Raises:
            RedisError: The ledger or the broker cannot be reached. No message is lost.
        """
        # No message is taken while its record could not be written.
        self._ledger.redis.ping()
        if self._may_have_unfinished:
            self._queue.return_taken()
        self._may_have_unfinished = True
        while may_continue():
            raw = self._queue.unfinished()
            if raw is None:
                raw = self._queue.take()
            if raw is None:
                break
            try:
                handled = self._handle(raw)
            except OUTAGES:
                # The try does not count: neither the worker nor the message is at fault.
                self._queue.give_back(raw)
                raise
            if not handled:
                break
        self._may_have_unfinished = False

    def _handle(self, raw: bytes) -> bool:
        """Handle one message, and return False if it must be handled again later."""
        tries = self._queue.count_try(raw)
        with faultpoint("intake"):
            return self._handle_counted(raw, tries)

    def _handle_counted(self, raw: bytes, tries: int) -> bool:
        if tries > MAX_TRIES:
            self._set_aside(raw, f"{MAX_TRIES} workers died or failed while they worked on it")
            return True
        try:
            message = read_message(raw)
        except MalformedMessageError as error:
            self._set_aside(raw, str(error))
            return True
        now = datetime.now(UTC)
        if message.task != SUBMIT_TASK:
            self._set_aside(raw, f"it is a task of another service, {message.task}")
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
        """Run the task as a Celery worker would, with its result and its callbacks.

        Returns:
            False if the record could not be written.

        Raises:
            Exception: The record is written, but the result is not, or a callback was not sent.
        """
        if self._tracer is None:
            task = self._app.tasks[SUBMIT_TASK]
            self._tracer = build_tracer(SUBMIT_TASK, task, app=self._app, hostname="intake")
        self._internal_error = None
        traced = self._tracer(message.id, message.args, message.kwargs, dict(message.request))
        if self._internal_error is not None:
            raise self._internal_error
        return traced.info is None or traced.info.state != states.REJECTED

    def _note_internal_error(self, sender: Any, exception: Exception, **_: Any) -> None:  # noqa: ANN401 - celery's
        """Remember an error outside the task, for example while its result was stored."""
        if sender.name == SUBMIT_TASK:
            self._internal_error = exception

    def _set_aside(self, raw: bytes, reason: str) -> None:
        message = self._aside.add(raw, reason)
        self._queue.acknowledge(raw)
        log.warning("message set aside", sha256=message.sha256, bytes=message.length, reason=reason)
