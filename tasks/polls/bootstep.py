"""The boot step that runs the poller in every worker, whatever its pool."""

import time
from contextlib import suppress
from typing import Any, Final

import structlog
from celery import bootsteps, current_app
from redis.exceptions import RedisError

from tasks.polls.poller import SWEEP_SECONDS, Poller
from worker.nemo.http.transport import CONNECT_SECONDS, READ_SECONDS
from worker.runtime.periodic_thread import PeriodicThread
from worker.runtime.runtime import get_runtime

log = structlog.get_logger(__name__)

STOP_SECONDS: Final = CONNECT_SECONDS + READ_SECONDS
"""How long a process that stops waits for the polls that are running."""


class PollStep(bootsteps.StartStopStep):
    """Starts the poller with the worker, and stops it before the pool."""

    requires = ("celery.worker.components:Pool",)

    _poller: Poller
    _thread: PeriodicThread

    def start(self, parent: Any) -> None:  # noqa: ARG002, ANN401 - celery's signature
        """Start the thread."""
        self._poller = Poller(get_runtime())
        self._thread = PeriodicThread("poller", SWEEP_SECONDS, self._poller.sweep)
        self._thread.start()

    def stop(self, parent: Any) -> None:  # noqa: ARG002, ANN401 - celery's signature
        """Start no more polls, and commit those that are running.

        Polls that do not end in time, or cannot be committed, are made again by another worker.
        """
        self._thread.stop()
        self._thread.join(STOP_SECONDS)
        deadline = time.monotonic() + STOP_SECONDS
        while not self._poller.is_idle and time.monotonic() < deadline:
            with suppress(RedisError):
                self._poller.commit()
            time.sleep(SWEEP_SECONDS)
        self._poller.close()


current_app.steps["worker"].add(PollStep)
