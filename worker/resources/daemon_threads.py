"""Threads for many short calls, which do not delay the end of the process.

The threads of ``concurrent.futures`` delay even an immediate end until each call has returned.
Under gevent, the threads are greenlets.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue


class DaemonThreads:
    """Runs calls in threads that are started as needed: as many as calls at the same time.

    Args:
        name: The name of the threads.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0

    def run(self, call: Callable[[], object]) -> None:
        """Run a call, which must not raise, in an idle thread or in a new one."""
        self._calls.put(call)
        if not self._idle.acquire(blocking=False):
            self._started += 1
            threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def close(self) -> None:
        """End each thread after its present call. No call may follow."""
        for _ in range(self._started):
            self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            self._idle.release()
