"""Celery's remote control under gevent, without a traceback when its connection breaks."""

from typing import Any, Final

import structlog
from celery.worker.consumer.control import Control
from celery.worker.pidbox import gPidbox
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

CELERYS_STEP: Final = "celery.worker.consumer.control:Control"
STEP: Final = "worker.broker.control:QuietControl"


class QuietPidbox(gPidbox):
    """Handles commands until its connection breaks. The consumer restarts it when it reconnects."""

    def loop(self, c: Any) -> None:  # noqa: ANN401 - Celery's consumer
        """Handle commands until the worker stops, or the connection breaks."""
        try:
            super().loop(c)
        except (RedisError, OperationalError, OSError) as error:
            # The consumer, whose own connection breaks too, has logged the outage.
            log.debug("remote control lost its connection", error=str(error))


class QuietControl(Control):
    """Celery's step, with this mailbox under gevent."""

    is_green: bool

    def __init__(self, c: Any, **options: Any) -> None:  # noqa: ANN401 - Celery's consumer
        super().__init__(c, **options)
        if self.is_green:
            self.box: Any = QuietPidbox(c)
            for name in ("start", "stop", "shutdown"):
                setattr(self, name, getattr(self.box, name))
