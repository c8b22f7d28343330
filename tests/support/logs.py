"""The logs of the process of the tests."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from config import observability, redaction


@contextmanager
def restored_logging() -> Iterator[None]:
    """Restore what `configure_logging` changes, so that tests after this one log as before it."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    loggers = [root, *map(logging.getLogger, observability._QUIET)]
    levels = [logger.level for logger in loggers]
    try:
        yield
    finally:
        root.handlers[:] = handlers
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
        redaction._configured["pattern"] = None
