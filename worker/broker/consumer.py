"""Celery's consumer, which connects again after any error and drops messages that cause one."""

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import structlog
from celery.worker.consumer import Consumer
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from worker.broker.control import CELERYS_STEP, STEP

log = structlog.get_logger(__name__)

CONSUMER: Final = "worker.broker.consumer:ReconnectingConsumer"
PAUSE_SECONDS: Final = 1.0
"""The wait after a connection was lost, and the first wait between two attempts to connect."""
MAX_RETRY_SECONDS: Final = 3.0
"""The longest wait between two attempts to connect. By default, kombu waits up to half a minute."""
REPEAT_SECONDS: Final = 600.0
"""The interval in which the same line about the broker is logged only once."""


class ReconnectingConsumer(Consumer):
    """Connects again after any error of Redis: out of memory, read-only, a changed password.

    By default, Celery does so only after errors of the connection.
    """

    class Blueprint(Consumer.Blueprint):  # type: ignore[valid-type,misc]
        """Celery's steps, with a remote control that ends without a traceback."""

        default_steps = tuple(
            STEP if step == CELERYS_STEP else step for step in Consumer.Blueprint.default_steps
        )

    connection_errors: tuple[type[BaseException], ...]
    channel_errors: tuple[type[BaseException], ...]

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - Celery's
        """Extend the errors after which Celery connects again, and start without "mingle".

        With "mingle", each new connection waits a second for the other workers' clocks and lists of
        revoked tasks. Jobs need neither: the ledger says which ones are canceled.
        """
        super().__init__(*arguments, **options, without_mingle=True)
        self.channel_errors = (*self.channel_errors, RedisError, OperationalError)
        for name in ("celery.worker.consumer.consumer", "celery.worker.consumer.connection"):
            logger = logging.getLogger(name)
            if not any(isinstance(found, _RepeatedLineFilter) for found in logger.filters):
                logger.addFilter(_RepeatedLineFilter())

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Wait a little before Celery connects again."""
        super().on_connection_error_after_connected(exc)
        time.sleep(PAUSE_SECONDS)

    def ensure_connected(self, conn: Any) -> Any:  # noqa: ANN401 - kombu's
        """Connect, however long Redis is away, with short waits between the attempts."""
        limit_retry_waits(conn)
        return super().ensure_connected(conn)

    def create_task_handler(self, *arguments: Any) -> Callable[[Any], None]:  # noqa: ANN401 - Celery's
        """Return Celery's handler of messages, which here drops a message that causes an error."""
        handle = super().create_task_handler(*arguments)
        outages = (*self.connection_errors, *self.channel_errors)

        def handle_or_drop(message: Any) -> None:  # noqa: ANN401 - kombu's
            try:
                handle(message)
            except outages:
                raise
            except Exception as error:  # noqa: BLE001 - a message can cause any error
                # A lost wake-up message delays a job at most until the next one.
                log.warning("message dropped", error=type(error).__name__)

        return handle_or_drop


def limit_retry_waits(connection: Any) -> None:  # noqa: ANN401 - kombu's
    """Limit the waits between a connection's attempts to connect."""
    connection.ensure_connection = partial(
        connection.ensure_connection,
        interval_start=PAUSE_SECONDS,
        interval_step=PAUSE_SECONDS,
        interval_max=MAX_RETRY_SECONDS,
    )


class _RepeatedLineFilter(logging.Filter):
    """Drops a line that was logged within the last `REPEAT_SECONDS`."""

    def __init__(self) -> None:
        super().__init__()
        self._logged: dict[object, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line is logged."""
        now = time.monotonic()
        # The first two arguments name the server and the error; a third counts the tries.
        values = record.args[:2] if isinstance(record.args, tuple) else ()
        line = (record.msg, *map(str, values))
        if now - self._logged.get(line, float("-inf")) < REPEAT_SECONDS:
            return False
        self._logged = {
            known: at for known, at in self._logged.items() if now - at < REPEAT_SECONDS
        }
        self._logged[line] = now
        return True
