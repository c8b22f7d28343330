"""A stand-in on a free port, and a client that speaks the contract to it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from pydantic import SecretStr

from sandbox.option_types import DurationRange, RegisteredAccount
from sandbox.options import Options
from sandbox.server import running
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

Start = Callable[[Options], Api]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts stand-ins that end with the test."""
    with ExitStack() as stack:

        def begin(options: Options) -> Api:
            url = stack.enter_context(running(options))
            return stack.enter_context(Api(url, TOKEN))

        yield begin


@pytest.fixture
def api(start: Start) -> Api:
    """A client of a quick stand-in, with a registered token and 1,000 credits."""
    return start(QUICK)
