"""Fixtures: stand-ins on free ports, each with a client."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from pydantic import SecretStr

from sandbox.option_types import DurationRange, RegisteredAccount
from sandbox.options import Options
from sandbox.server import serving
from tests.unit.sandbox.api import TOKEN, Api

QUICK = Options(
    stream_seconds=DurationRange(0.05, 0.05),
    heartbeat_seconds=0.01,
    render_seconds=0.01,
    silent_ratio=0.0,
    clip_height=108,
    accounts=(RegisteredAccount(SecretStr(TOKEN), 1000),),
    tokens_per_address=100,
)

START_SECONDS = 30.0

Start = Callable[[Options], Api]


@contextmanager
def running(options: Options) -> Iterator[str]:
    """Run a stand-in in a thread; yields its base URL."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="sandbox", daemon=True)
    thread.start()
    server = serving(options)
    try:
        starting = asyncio.run_coroutine_threadsafe(server.__aenter__(), loop)
        yield starting.result(START_SECONDS)
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that starts a stand-in, which stops with the test."""
    with ExitStack() as stack:

        def begin(options: Options) -> Api:
            url = stack.enter_context(running(options))
            return stack.enter_context(Api(url, TOKEN))

        yield begin


@pytest.fixture
def api(start: Start) -> Api:
    """Return a client of a fast stand-in, with a registered token and 1,000 credits."""
    return start(QUICK)
