"""Logs and Sentry, with every secret taken out by value before a line or an event leaves."""

import logging
import sys
import traceback
from collections.abc import Mapping
from typing import Any, Final, cast

import sentry_sdk
import structlog
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.transport import Transport
from sentry_sdk.types import Breadcrumb, BreadcrumbHint, Event, Hint
from structlog.typing import EventDict, Processor, WrappedLogger

from config.redaction import learn, redact, redact_value
from config.settings import Settings

_QUIET: Final = ("httpx", "httpcore", "PIL", "fsspec", "kombu", "amqp", "asyncio")
"""Libraries whose lines below a warning tell an operator nothing. httpx logs every request."""

_CALL_ARGUMENTS: Final = frozenset({"args", "kwargs", "vars"})
"""What a report of a task or a stack frame calls the values that it was called with."""


def configure_logging(settings: Settings) -> None:
    """Send all logs of this process, ours and the libraries', to standard error as one stream.

    Celery must be told to leave the loggers alone: connect its ``setup_logging`` signal here.
    """
    learn(settings)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = _Handler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                redact_event,
                _renderer(settings.operations.log_format),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.operations.log_level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: redact every value of an event, exception texts included."""
    return cast("EventDict", redact_value(event))


def init_sentry(settings: Settings, transport: Transport | None = None) -> bool:
    """Start Sentry when a DSN is set; nothing that leaves holds a secret or a task's arguments.

    Args:
        settings: Where the DSN and the secrets to look for come from.
        transport: Takes the envelopes instead of the network.

    Returns:
        Whether Sentry is on.
    """
    if settings.operations.sentry_dsn is None:
        return False
    learn(settings)
    sentry_sdk.init(
        dsn=settings.operations.sentry_dsn.get_secret_value(),
        transport=transport,
        # Personal data stays off: that is what an unset `send_default_pii` means, and naming the
        # option is deprecated. Naming its successor would switch the event scrubber off.
        include_local_variables=False,
        max_request_body_size="never",
        # Chosen by name: an integration that switches itself on may report what it sees.
        auto_enabling_integrations=False,
        integrations=[
            LoggingIntegration(),
            # Marks events with the task's name and drops the scope of a task when it ends.
            CeleryIntegration(propagate_traces=False),
        ],
        before_send=_before_send,
        before_send_transaction=_before_send,
        before_breadcrumb=_before_breadcrumb,
    )
    return True


class _Handler(logging.StreamHandler[Any]):
    """Writes to a stream; a line that cannot be formatted is reported without its arguments."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        reason = redact("".join(traceback.format_exception_only(sys.exception())).strip())
        self.stream.write(f"a log line of {record.name} could not be written: {reason}\n")


def _renderer(log_format: str) -> Processor:
    if log_format == "json":
        return structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    # Plain tracebacks: the pretty ones show local variables.
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def _before_send(event: Event, _hint: Hint) -> Event | None:
    return cast("Event", redact_value(_without_arguments(event)))


def _before_breadcrumb(crumb: Breadcrumb, _hint: BreadcrumbHint) -> Breadcrumb | None:
    return cast("Breadcrumb", redact_value(_without_arguments(crumb)))


def _without_arguments(value: object) -> object:
    """Copy a structure without the values that functions and tasks were called with."""
    if isinstance(value, Mapping):
        return {
            key: _without_arguments(inner)
            for key, inner in value.items()
            if key not in _CALL_ARGUMENTS
        }
    if isinstance(value, list | tuple):
        return [_without_arguments(inner) for inner in value]
    return value
