"""Fixtures of all tests, and the seed of those that are random."""

import os
import random
from collections.abc import Iterator

import pytest
from redis import Redis

from tests.support.valkey import Valkey

SEED = pytest.StashKey[int]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed: REELQUEUE_TEST_SEED, or any. Hypothesis draws from it too."""
    seed = int(os.environ.get("REELQUEUE_TEST_SEED") or random.SystemRandom().randrange(2**32))
    config.stash[SEED] = seed
    # The processes that share the tests draw from the same.
    os.environ["REELQUEUE_TEST_SEED"] = str(seed)
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(seed)


def pytest_report_header(config: pytest.Config) -> str:
    return _told(config)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    if exitstatus:
        terminalreporter.write_line(_told(config))


def _told(config: pytest.Config) -> str:
    return f"random tests: REELQUEUE_TEST_SEED={config.stash[SEED]} draws the same again"


@pytest.fixture(scope="session")
def seed(pytestconfig: pytest.Config) -> int:
    """What a random test draws from; it is told at the head, and again where a test fails."""
    return pytestconfig.stash[SEED]


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One Valkey for the whole run."""
    server = Valkey(tmp_path_factory.mktemp("valkey")).start()
    yield server
    server.stop()


@pytest.fixture
def redis(valkey: Valkey) -> Iterator[Redis]:
    """A client on an empty database."""
    with valkey.client() as client:
        client.flushall()
        yield client
