"""Logging and Sentry. Secrets are redacted in every log line and event before it is sent."""

import logging
import sys
import traceback
from typing import Any, Final, cast

import sentry_sdk
import structlog
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.transport import Transport
from sentry_sdk.types import Breadcrumb, BreadcrumbHint, Event, Hint
from structlog.typing import EventDict, Processor, WrappedLogger

from config.log_lines import escaped, keep_on_one_line
from config.redaction import redact, redact_value, register_secrets
from config.sentry_events import enrich_breadcrumb, enrich_event
from config.settings import Settings

_QUIET: Final = (
    *("httpx", "httpcore", "PIL", "fsspec", "kombu", "amqp", "asyncio"),
    *("celery.worker.strategy", "celery.app.trace"),
)
"""Loggers of which only warnings and errors are logged. httpx logs every request. Celery logs two
lines, without the job's id, for each of the several tasks of a job."""

_CALL_ARGUMENTS: Final = frozenset({"args", "kwargs", "vars"})
"""The keys of call arguments in Sentry's reports of tasks and of stack frames."""


def configure_logging(settings: Settings, *, level: int | None = None) -> None:
    """Write all logs of this process, those of libraries too, to standard error in one format.

    Under Celery, call this from its ``setup_logging`` signal, which disables Celery's own setup.

    Args:
        settings: The format, the level and the secrets to redact.
        level: The lowest level that is logged; None: the one in the settings.
    """
    register_secrets(settings)
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
                *_renderers(settings.operations.log_format),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level or settings.operations.log_level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Redact all values of an event, including exception texts. A structlog processor."""
    return cast("EventDict", redact_value(event))


def init_sentry(settings: Settings, transport: Transport | None = None) -> bool:
    """Start Sentry if a DSN is configured. Events contain no secrets and no call arguments.

    Args:
        settings: The DSN and the secrets to redact.
        transport: Receives the envelopes instead of the network.

    Returns:
        Whether Sentry is on.
    """
    if settings.operations.sentry_dsn is None:
        return False
    register_secrets(settings)
    sentry_sdk.init(
        dsn=settings.operations.sentry_dsn.get_secret_value(),
        transport=transport,
        # Personal data is off while `send_default_pii` is unset. Setting it is deprecated, and
        # setting its successor would disable the event scrubber.
        include_local_variables=False,
        max_request_body_size="never",
        # Integrations are listed, as one that enables itself could report unredacted data.
        auto_enabling_integrations=False,
        integrations=[
            LoggingIntegration(),
            # Adds the task's name to events, and resets the scope after each task.
            CeleryIntegration(propagate_traces=False),
        ],
        before_send=_before_send,
        before_send_transaction=_before_send,
        before_breadcrumb=_before_breadcrumb,
    )
    return True


class _Handler(logging.StreamHandler[Any]):
    """Reports a log call that cannot be formatted, but not its arguments, which may be secrets."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        reason = redact("".join(traceback.format_exception_only(sys.exception())).strip())
        line = f"a log line of {record.name} could not be written: {reason}"
        self.stream.write(f"{escaped(line)}\n")


def _renderers(log_format: str) -> list[Processor]:
    if log_format == "json":
        return [structlog.processors.JSONRenderer(ensure_ascii=False, default=str)]
    # Plain tracebacks, because the formatted ones show local variables.
    renderer = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    return [keep_on_one_line, renderer]


def _before_send(event: Event, hint: Hint) -> Event | None:
    enrich_event(cast("dict[str, Any]", event), hint)
    return cast("Event", redact_value(event, omit=_CALL_ARGUMENTS))


def _before_breadcrumb(crumb: Breadcrumb, hint: BreadcrumbHint) -> Breadcrumb | None:
    enrich_breadcrumb(crumb, hint)
    return cast("Breadcrumb", redact_value(crumb, omit=_CALL_ARGUMENTS))
