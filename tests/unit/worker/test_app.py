"""What the Celery app sets up for its process."""

import logging
from collections.abc import Iterator

import pytest
from celery import signals
from celery.bin.base import CLIContext
from celery.bin.worker import worker

from tests.support.logs import restored_logging
from worker.app import app


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger. It and all others are as before after the test."""
    with restored_logging():
        yield logging.getLogger()


@pytest.mark.parametrize(
    ("arguments", "level"),
    [
        ((), logging.INFO),
        (("-l", "error"), logging.ERROR),
        (("--loglevel=warning",), logging.WARNING),
    ],
)
def test_a_log_level_on_the_command_line_applies_instead_of_the_setting(
    root: logging.Logger, arguments: tuple[str, ...], level: int
) -> None:
    """Without the option, Celery passes its own default, which nobody has chosen."""
    client = CLIContext(app=app, no_color=True, workdir=None, quiet=True)
    with worker.make_context("worker", list(arguments), obj=client) as context:
        signals.setup_logging.send(sender=None, loglevel=context.params["loglevel"])
    assert root.level == level
