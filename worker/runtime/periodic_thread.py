"""A thread that calls a function at intervals. Under gevent it is a greenlet."""

import threading
from collections.abc import Callable
from typing import Final

import structlog
from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from worker.resources.shortages import MESSAGES, REMEDIES, shortage_of
from worker.runtime.repeat_filter import RepeatFilter

log = structlog.get_logger(__name__)

OUTAGE: Final = "outage"


class PeriodicThread(threading.Thread):
    """Calls a function, waits, and repeats until it is stopped. No exception ends it."""

    def __init__(self, name: str, interval: float, work: Callable[[], object]) -> None:
        super().__init__(name=name, daemon=True)
        self._interval = interval
        self._work = work
        self._stopped = threading.Event()
        self._failures = RepeatFilter()
        self._other_failures = RepeatFilter()

    def stop(self) -> None:
        """End the thread after the current call, without waiting for the interval."""
        self._stopped.set()

    def run(self) -> None:
        """Call the function until the thread is stopped."""
        while not self._stopped.is_set():
            try:
                self._work()
            except (RedisConnectionError, RedisTimeoutError, OperationalError) as error:
                # Nothing is lost: due jobs stay on the agenda. One line for each outage.
                if self._failures.is_new(OUTAGE):
                    log.warning("Redis does not answer", thread=self.name, error=str(error))
            except RedisError as error:
                # Redis answers with an error, such as out of memory or a full disk. That may not
                # end by itself, so it is logged as an error, once for each text.
                if self._failures.is_new(str(error)):
                    log.exception("Redis returned an error", thread=self.name)
            except Exception as error:  # noqa: BLE001 - no failure ends the thread
                self._log_failure(error)
            else:
                self._other_failures.clear()
                if self._failures.clear():
                    log.info("Redis answers again", thread=self.name)
            self._stopped.wait(self._interval)

    def _log_failure(self, error: Exception) -> None:
        """Log a failure whose cause is not Redis, once while it lasts."""
        shortage = shortage_of(error)
        if not self._other_failures.is_new(shortage or repr(error)):
            return
        if shortage is None:
            log.error("periodic work failed", thread=self.name, exc_info=error)
        else:
            about = {"error": MESSAGES[shortage], "remedy": REMEDIES[shortage]}
            log.warning("periodic work waits", thread=self.name, **about)
