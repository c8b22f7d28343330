"""Joining a session that several jobs use: a follow-up its predecessor's, a row its shared batch's.

Source: the agenda protocol («One message at a time in a session»); the decisions are the ledger's.
"""

from dataclasses import replace
from typing import Final, assert_never

from tasks.step.context import LeaseLostError, Step, with_jitter
from worker.ledger.ledger import Commit
from worker.ledger.model.jobs import read_job
from worker.ledger.model.states import Reason, State
from worker.ledger.model.verdicts import SessionVerdict

TURN_WAIT: Final = 1.0
"""Seconds between two looks at a session that another job is at work in."""


def acquire_session(step: Step) -> Step | Commit:
    """The step with its job in the session that it is to use, or what must happen before.

    Raises:
        LeaseLostError: The job is no longer ours.
    """
    job, ledger = step.job, step.runtime.ledger
    if not (is_follow_up_edit(step) or uses_shared_session(step) or job.turn > 1):
        return step
    joining = ledger.acquire_session(job.id, step.lease.fence)
    match joining.verdict:
        case SessionVerdict.OK:
            return replace(step, job=read_job(joining.record))
        case SessionVerdict.LOST:
            raise LeaseLostError
        case SessionVerdict.SESSION_BUSY:
            return step.retry_later(with_jitter(TURN_WAIT))
        case SessionVerdict.NO_PROJECT:
            return step.fail(
                Reason.BAD_REQUEST,
                f"The job that it follows, {joining.other}, ended without a project to go on in.",
                "Submit the image again, with all that is wanted in one prompt.",
            )
        case SessionVerdict.SESSION_BLOCKED:
            return step.hold(
                Reason.BLOCKED,
                f"Its session waits for job {joining.other}.",
                resume=State.PREPARING,
                facts={"blocked_by": joining.other},
            )
        case _:
            assert_never(joining.verdict)


def is_follow_up_edit(step: Step) -> bool:
    """Whether the job goes on in the session of another."""
    return step.job.fact("follows") is not None


def uses_shared_session(step: Step) -> bool:
    """Whether the job uses its batch's one session."""
    return step.job.fact("shared") is not None
