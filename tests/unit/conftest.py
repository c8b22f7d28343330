"""A worker's parts, whose connections are closed after the test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from config.settings import Settings
from worker.runtime.runtime import Runtime

OpenRuntime = Callable[[Settings], Runtime]


@pytest.fixture
def open_runtime() -> Iterator[OpenRuntime]:
    """Open the parts of a worker process, and close their connections after the test."""
    with ExitStack() as opened:

        def open_(settings: Settings) -> Runtime:
            runtime = Runtime.open(settings)
            opened.callback(runtime.ledger.redis.close)
            return runtime

        yield open_
