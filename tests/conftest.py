"""Fixtures and options of all tests, and the seed of random tests."""

import os
import random
from collections.abc import Iterator

import pytest
from redis import Redis

from tests.support.valkey import Valkey, valkey_in_memory

SEED = pytest.StashKey[int]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Set the seed of all random tests: REELQUEUE_TEST_SEED, or a random one."""
    seed = int(os.environ.get("REELQUEUE_TEST_SEED") or random.SystemRandom().randrange(2**32))
    config.stash[SEED] = seed
    # The processes of pytest-xdist inherit it.
    os.environ["REELQUEUE_TEST_SEED"] = str(seed)
    # They must collect the tests in the same order, also those parametrized from a set.
    os.environ["PYTHONHASHSEED"] = str(seed % 2**32)
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(seed)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the tests that must run in one process of `make test`, and put the longest first.

    The tests of a file run in one process, except those that start a stack of their own.
    """
    for item in items:
        if "stack" not in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_report_header(config: pytest.Config) -> str:
    return _seed_line(config)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    if exitstatus:
        terminalreporter.write_line(_seed_line(config))


def _seed_line(config: pytest.Config) -> str:
    return f"random tests: REELQUEUE_TEST_SEED={config.stash[SEED]} repeats them"


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
