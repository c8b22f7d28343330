"""Fixtures and options of all tests, and the seed of random tests."""

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import hypothesis
import pytest
from redis import Redis
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.support.abandoned_sockets import no_abandoned_sockets
from tests.support.valkey import Valkey, valkey_in_memory

SEED = pytest.StashKey[int]()
DIVIDED_FILES: Final = ("tests/integration/test_crowd.py", "tests/integration/test_money.py")
"""Long files whose tests share nothing: each of their tests goes to the first free process."""


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Set the seed of all random tests: REELQUEUE_TEST_SEED, or a random one."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Shells let background jobs ignore interrupts, and child processes inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    seed = int(os.environ.get("REELQUEUE_TEST_SEED") or random.SystemRandom().randrange(2**32))
    config.stash[SEED] = seed
    # The processes of pytest-xdist inherit it.
    os.environ["REELQUEUE_TEST_SEED"] = str(seed)
    # They must collect the tests in the same order, also those parametrized from a set.
    os.environ["PYTHONHASHSEED"] = str(seed % 2**32)
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(seed)
    # Without this, an example that takes 200 ms on a busy machine fails its test.
    hypothesis.settings.register_profile("tests", deadline=None)
    hypothesis.settings.load_profile("tests")
    _share_compilation(config)


def _share_compilation(config: pytest.Config) -> None:
    """Let each process of a whole run import other test files first.

    pytest compiles test files by itself, which takes longer than all imports. So each process
    compiles a part of the files, and reads what the others have compiled meanwhile.
    """
    process: dict[str, Any] | None = getattr(config, "workerinput", None)
    if process is None or config.args != config.getini("testpaths"):
        return
    files = sorted(map(str, Path(config.rootpath, "tests").rglob("test_*.py")))
    number = int(process["workerid"].removeprefix("gw"))
    first = len(files) * number // process["workercount"]
    config.args = [*files[first:], *files[:first]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest tests first, so that no process waits for another at the end."""
    items.sort(key=lambda item: (item.get_closest_marker("long") is None, item.path))


class Scheduler(LoadScopeScheduling):  # type: ignore[misc] # it has no types
    """Distributes whole files, and the tests of `DIVIDED_FILES` one by one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if file in DIVIDED_FILES else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduler:
    """Distribute the tests of `make test` over its processes."""
    config.option.loadscopereorder = False
    return Scheduler(config, log)


def pytest_report_header(config: pytest.Config) -> str:
    return _seed_line(config)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    if exitstatus:
        terminalreporter.write_line(_seed_line(config))


def _seed_line(config: pytest.Config) -> str:
    return f"random tests: REELQUEUE_TEST_SEED={config.stash[SEED]} repeats them"


@pytest.fixture(autouse=True)
def closed_sockets(request: pytest.FixtureRequest) -> Iterator[None]:
    """Demand of each test that it closes its connections. Otherwise they fail another test."""
    with no_abandoned_sockets():
        yield
        # pytest itself refers to the values of fixtures until the test has been reported.
        request.node.funcargs.clear()


@pytest.fixture(scope="session")
def seed(pytestconfig: pytest.Config) -> int:
    """The seed of random tests, which is printed at the start and after a failure."""
    return pytestconfig.stash[SEED]


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One Valkey for all tests of the process."""
    with valkey_in_memory(tmp_path_factory.mktemp("run") / "valkey") as server:
        yield server


@pytest.fixture
def redis(valkey: Valkey) -> Iterator[Redis]:
    """A client of an empty database."""
    with valkey.client() as client:
        client.flushall()
        yield client
