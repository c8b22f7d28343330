"""A thread that calls a function at intervals. Under gevent it is a greenlet."""

import threading
from collections.abc import Callable
from typing import Final

import structlog
from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from worker.runtime.repeat_filter import RepeatFilter

log = structlog.get_logger(__name__)

OUTAGE: Final = "outage"


class PeriodicThread:
    """Calls a function, waits, and repeats until it is stopped. No exception ends it."""

    def __init__(self, name: str, interval: float, work: Callable[[], object]) -> None:
        self._name = name
        self._interval = interval
        self._work = work
        self._stop = threading.Event()
        self._failures = RepeatFilter()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread; the first call follows immediately."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the current call, without waiting for the interval."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._work()
            except (RedisConnectionError, RedisTimeoutError, OperationalError) as error:
                # Nothing is lost: due jobs stay on the agenda. One line for each outage.
                if self._failures.is_new(OUTAGE):
                    log.warning("Redis does not answer", thread=self._name, error=str(error))
            except RedisError as error:
                # Redis answers with an error: out of memory, a full disk, or a faulty script. It
                # may not end by itself, so it is logged as an error, once for each text.
                if self._failures.is_new(str(error)):
                    log.exception("Redis returned an error", thread=self._name)
            except Exception:
                log.exception("periodic work failed", thread=self._name)
            else:
                if self._failures.clear():
                    log.info("Redis answers again", thread=self._name)
            self._stop.wait(self._interval)
