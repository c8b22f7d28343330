"""Where Redis has no memory left, what frees memory goes on, and everything else is refused."""

from collections.abc import Iterator

import pytest
from redis.exceptions import ResponseError

from tests.unit.worker.ledger.conftest import LedgerHarness
from worker.ledger.model.states import State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob
from worker.ledger.model.verdicts import CancelVerdict
from worker.runtime.checks.durability import check_durability
from worker.runtime.retention import prune


@pytest.fixture
def full(harness: LedgerHarness) -> Iterator[LedgerHarness]:
    """Redis at its memory limit, with an ended job and a queued one, each in a batch."""
    harness.ledger.open_batch("b", "spring", 1)
    for name, batch in (("ended", "b"), ("queued", "")):
        harness.ledger.submit(
            NewJob(id=name, payload={}, fingerprint="f", key=name, batch_id=batch)
        )
    harness.ledger.seal_batch("b")
    harness.admit(1)
    fence = harness.claim("ended")
    assert harness.ledger.commit("ended", fence, Commit(State.FAILED))
    harness.later(86_400)
    harness.redis.config_set("maxmemory", "1")
    yield harness
    harness.redis.config_set("maxmemory", "0")


def test_ended_jobs_are_pruned(full: LedgerHarness) -> None:
    full.ledger.acknowledge_notifications([("job:ended", 1)])
    assert prune(full.ledger, int(str(full.redis.get("test:clock")))).jobs == 1
    assert full.ledger.job("ended") is None


def test_jobs_are_cancelled(full: LedgerHarness) -> None:
    assert full.ledger.cancel("queued") is CancelVerdict.CANCELLED


def test_a_submission_is_refused_whole(full: LedgerHarness) -> None:
    before = set(full.redis.scan_iter("*"))
    with pytest.raises(ResponseError, match="OOM"):
        full.submit("new")
    assert set(full.redis.scan_iter("*")) == before


def test_the_check_of_the_server_says_that_writes_are_refused(full: LedgerHarness) -> None:
    failed = {result.check: result for result in check_durability(full.ledger, "fsync")}
    assert not failed["writes"].ok
    assert "OOM" in failed["writes"].found or "memory" in failed["writes"].found
