"""Acquires a session that several jobs use, before anything is uploaded to it.

A follow-up edit uses the session of the job that it edits; a row may use its batch's shared one.
The ledger decides which job is next. Source: docs/architecture.md, "A session that several jobs
share".
"""

from typing import Final, assert_never

from tasks.step.commits import fail, hold, repeat_later, with_jitter
from tasks.step.context import LeaseLostError, StepContext
from worker.ledger.model.jobs import read_job
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.verdicts import SessionVerdict

BUSY_SECONDS: Final = 1.0
"""How long a job waits before it tries again to acquire a session that another job uses."""


def acquire_session(step: StepContext) -> Commit | None:
    """Acquire the session of the job if others use it too, and read the job's record again.

    Returns:
        None when the stage may continue; else the commit that ends the step.

    Raises:
        LeaseLostError: The step no longer owns the job.
    """
    if not (step.is_follow_up_edit or step.uses_shared_session or step.job.turn > 1):
        return None
    acquisition = step.runtime.ledger.acquire_session(step.job.id, step.lease.fence)
    match acquisition.verdict:
        case SessionVerdict.OK:
            step.use_record(read_job(acquisition.record))
            return None
        case SessionVerdict.LOST:
            raise LeaseLostError
        case SessionVerdict.SESSION_BUSY:
            return repeat_later(step, with_jitter(BUSY_SECONDS))
        case SessionVerdict.NO_PROJECT:
            return fail(
                step,
                Reason.BAD_REQUEST,
                f"The job that this one edits, {acquisition.waits_for}, ended without a project.",
                "Submit the image again, with everything that you want in one prompt.",
            )
        case SessionVerdict.SESSION_BLOCKED:
            return hold(
                step,
                Reason.BLOCKED,
                f"The project of this job is blocked by job {acquisition.waits_for}.",
                resume=State.PREPARING,
                facts={"blocked_by": acquisition.waits_for},
            )
        case _:
            assert_never(acquisition.verdict)
