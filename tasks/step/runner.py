"""Runs the steps of a job: claims it, runs its stage, commits the result, and continues.

The record decides which stage runs. The wake-up message only names the job.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final
from uuid import uuid4

import structlog
from redis.exceptions import RedisError

from tasks.step.context import LeaseLostError, StepClock, StepContext
from tasks.step.ends import record_end
from tasks.step.exceptions import commit_for_exception
from worker.ledger.connections.outages import is_outage
from worker.ledger.model.jobs import UnreadableRecordError, read_job, unreadable_remedy
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Claim, Commit
from worker.ledger.model.verdicts import ClaimVerdict
from worker.runtime.leases import Lease
from worker.runtime.repeat_filter import RepeatFilter
from worker.runtime.runtime import Runtime, get_runtime
from worker.telemetry.metrics import LOST, STEPS

log = structlog.get_logger(__name__)

_outages: Final = RepeatFilter()
"""Whether Redis did not answer the last step of this process."""

MAX_STEP_SECONDS: Final = 600.0
"""The longest that a step may take, for example the slow download of a large clip.

A step that reads the stream of a message has another limit.
"""

Stage = Callable[[StepContext], Commit]


class JobFailedError(RuntimeError):
    """The job failed. Raised after the commit, so that Flower shows the task as failed."""


def run_step(job_id: str, stages: Mapping[State, Stage]) -> str:
    """Claim a job, and run its next step and those that follow immediately.

    While Redis does not answer or refuses writes, no step is run, and the job is dispatched again
    later. An outage is logged once, not for each step.

    Returns:
        The last state, or why no step was run, for Flower.

    Raises:
        JobFailedError: The job ended as failed.
    """
    return _unless_redis_is_down(lambda: _claim_and_run(job_id, stages))


def run_claimed_step(
    runtime: Runtime, job_id: str, fence: str, stages: Mapping[State, Stage]
) -> str:
    """Run the next step of a job that this worker has claimed already, as `run_step` does.

    If the stage that follows is not among ``stages``, it waits for a wake-up message.

    Raises:
        JobFailedError: The job ended as failed.
    """
    return _unless_redis_is_down(lambda: _read_and_run(runtime, job_id, fence, stages))


def _unless_redis_is_down(run: Callable[[], str]) -> str:
    try:
        result = run()
    except RedisError as error:
        if not is_outage(error):
            raise
        if _outages.is_new("outage"):
            log.warning("Redis does not answer; steps are repeated later", error=str(error))
        return "redis_unavailable"
    if _outages.clear():
        log.info("Redis answers again")
    return result


def _claim_and_run(job_id: str, stages: Mapping[State, Stage]) -> str:
    runtime = get_runtime()
    if not runtime.status.takes_jobs:
        runtime.ledger.decline(job_id)
        return "declined"
    claim = runtime.ledger.claim(job_id, runtime.owner, uuid4().hex)
    if claim.verdict is not ClaimVerdict.OK:
        return claim.verdict.lower()
    return _run_stages(runtime, job_id, claim, stages)


def _read_and_run(runtime: Runtime, job_id: str, fence: str, stages: Mapping[State, Stage]) -> str:
    record = runtime.ledger.record(job_id)
    claim = Claim(ClaimVerdict.OK, record, runtime.ledger.now_ms())
    # The record of a job that has ended has no owner and no fence.
    if not record.get("owner") or claim.fence != fence:
        log.warning("lease lost", job_id=job_id, fence=fence)
        return LOST
    return _run_stages(runtime, job_id, claim, stages)


def _run_stages(runtime: Runtime, job_id: str, claim: Claim, stages: Mapping[State, Stage]) -> str:
    result = ""
    following: Claim | None = claim
    with structlog.contextvars.bound_contextvars(job_id=job_id):
        while following is not None:
            result, following = _run_and_commit(runtime, job_id, following, stages)
    return result


def _run_and_commit(
    runtime: Runtime, job_id: str, claim: Claim, stages: Mapping[State, Stage]
) -> tuple[str, Claim | None]:
    """Run one stage of a claimed job, and commit its result.

    Returns:
        The new state, or that the lease was lost; and the claim for the next stage, if it follows
        immediately.

    Raises:
        JobFailedError: The job ended as failed.
    """
    ledger, fence, state = runtime.ledger, claim.fence, claim.record["state"]
    with runtime.leases.hold(job_id, fence, MAX_STEP_SECONDS) as lease:
        commit = _run_stage(runtime, claim, lease, stages)
        lease.is_ending = True
        following: Claim | None = None
        if commit is None:
            is_committed = False
        elif (
            runtime.status.takes_jobs
            and commit.state in stages
            and continues_immediately(State(state), commit)
        ):
            reply = ledger.commit_and_claim(job_id, fence, commit)
            is_committed, following = reply.is_committed, reply.claim
        else:
            is_committed = ledger.commit(job_id, fence, commit)
    if commit is None or not is_committed:
        STEPS.labels(state, LOST).inc()
        return LOST, None
    STEPS.labels(state, commit.state.value).inc()
    log.info("step done", state=commit.state.value, reason=commit.reason, delay=commit.delay)
    if commit.state is State.FAILED:
        raise JobFailedError(f"{commit.reason}: {commit.message}")
    return commit.state.value, following


def continues_immediately(state: State, commit: Commit) -> bool:
    """Return whether the next stage follows immediately after a commit, in the same claim.

    A job that goes back to an earlier stage, or repeats one, waits for a wake-up message, so that
    no job repeats stages without a pause.
    """
    is_later = commit.state.is_running and commit.state.is_after(state)
    return is_later and commit.delay <= 0


def _run_stage(
    runtime: Runtime, claim: Claim, lease: Lease, stages: Mapping[State, Stage]
) -> Commit | None:
    """Run the stage of the record's state; None if the lease was lost."""
    try:
        step = StepContext(runtime, read_job(claim.record), lease, StepClock(claim.now))
    except UnreadableRecordError as error:
        return _hold_unreadable(lease.job_id, claim.record, error)
    try:
        commit = stages[step.job.state](step)
        record_end(step, commit)
    except LeaseLostError:
        return None
    except Exception as error:  # noqa: BLE001 - each type has its commit; unexpected ones are logged
        commit = commit_for_exception(step, error)
    return replace(commit, facts={**step.noted, **(commit.facts or {})})


def _hold_unreadable(
    job_id: str, record: Mapping[str, str], error: UnreadableRecordError
) -> Commit:
    log.error("job record cannot be read", error=str(error))
    return Commit(
        State.HELD,
        reason=Reason.POISON,
        message=f"This job's record cannot be read: {error}",
        remedy=unreadable_remedy(job_id),
        resume=State(record["state"]),
    )
