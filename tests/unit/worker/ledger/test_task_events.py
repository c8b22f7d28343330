"""The replay for a Flower that has missed events."""

from tests.support.ledger_access import submit_many
from tests.unit.worker.ledger.conftest import LedgerHarness
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob
from worker.ledger.pages import PAGE_SIZE
from worker.ledger.task_events import TaskEvents


def test_a_replay_reads_held_jobs_some_at_a_time(harness: LedgerHarness) -> None:
    """A hundred thousand may be held: read in one call, they would hold up all other calls."""
    jobs = 2 * PAGE_SIZE
    submit_many(
        harness.ledger, [NewJob(id=f"j{n}", payload={}, fingerprint="f") for n in range(jobs)]
    )
    held = Commit(State.HELD, reason=Reason.CREDITS, resume=State.PREPARING)
    for job_id in harness.admit(jobs):
        assert harness.ledger.commit(job_id, harness.claim(job_id), held)
    events = TaskEvents(harness.ledger)
    harness.redis.set(harness.ledger.key("task_replay_at"), 1)
    harness.redis.config_resetstat()
    assert events.begin_requested_replay() == jobs
    calls = harness.redis.info("commandstats")
    assert isinstance(calls, dict)
    assert calls["cmdstat_sscan"]["calls"] > 1
    assert "cmdstat_sunion" not in calls
