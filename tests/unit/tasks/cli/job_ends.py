"""Ends of jobs, as a worker would commit them."""

from collections.abc import Sequence

from tests.unit.tasks.conftest import ProducerHarness
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit


def fail_job(harness: ProducerHarness, job_id: str) -> None:
    """Let a job fail."""
    harness.finish_step(
        job_id, State.FAILED, reason=Reason.RENDER_FAILED, message="No.", remedy="Retry."
    )


def hold_job(harness: ProducerHarness, job_id: str) -> None:
    """Hold a job for lack of credits."""
    harness.finish_step(job_id, State.HELD, reason=Reason.CREDITS, message="No.", remedy="Top up.")


def finish_jobs(harness: ProducerHarness, ends: Sequence[State]) -> None:
    """Finish the next jobs in the order of their submission, one with each end."""
    for state in ends:
        reason = {State.HELD: Reason.CREDITS, State.FAILED: Reason.BAD_CLIP}.get(state)
        harness.finish_next_step(Commit(state, reason=reason))
