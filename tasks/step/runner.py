"""Run the steps of one job: claim it, run its stage, commit the result, continue if it can.

The record decides which stage runs; the wake-up message only names the job.
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
"""Whether Redis was away at the last step of this process."""

MAX_STEP_SECONDS: Final = 600.0
"""The longest that a step may take, for example the slow download of a large clip.

A step that reads a message's stream has a limit of its own.
"""

Stage = Callable[[StepContext], Commit]


class JobFailedError(RuntimeError):
    """The job failed. Raised after the commit, so that Flower shows the task as failed."""


def run_step(job_id: str, stages: Mapping[State, Stage]) -> str:
    """Run the next step of a job as `_claim_and_run` does, unless Redis is away or refuses writes.

    The job is then dispatched again later. An outage is logged in one line, not in each step.

    Raises:
        JobFailedError: The job ended as failed.
    """
    return _unless_redis_is_down(lambda: _claim_and_run(job_id, stages))


def run_claimed_step(
    runtime: Runtime, job_id: str, fence: str, stages: Mapping[State, Stage]
) -> str:
    """Run the next step of a job that this worker has claimed, as `run_step` does.

    A following stage that is not among ``stages`` waits for its wake-up message.

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
        log.info("Redis answers the steps again")
    return result


def _claim_and_run(job_id: str, stages: Mapping[State, Stage]) -> str:
    """Run the next step of a job, if it can be claimed, and those that follow immediately.

    Returns:
        The last state, or why no step was run, for Flower.

    Raises:
        JobFailedError: The job ended as failed.
    """
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
    # A job that has ended has no owner and no nonce.
    if not record.get("owner") or claim.fence != fence:
        log.warning("lease lost", job_id=job_id, fence=fence)
        return LOST
    return _run_stages(runtime, job_id, claim, stages)


def _run_stages(runtime: Runtime, job_id: str, claim: Claim, stages: Mapping[State, Stage]) -> str:
    """Run the next step of a claimed job, and those that follow immediately."""
    result = ""
    following: Claim | None = claim
    with structlog.contextvars.bound_contextvars(job_id=job_id):
        while following is not None:
            result, following = _run_and_commit(runtime, job_id, following, stages)
    return result


def _run_and_commit(
    runtime: Runtime, job_id: str, claim: Claim, stages: Mapping[State, Stage]
) -> tuple[str, Claim | None]:
    """Run the stage of a job that this worker has claimed, and commit its end.

    Returns:
        The new state, or that the lease was lost; and the claim of the next stage, if that follows
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

    A job that goes back to an earlier stage, or repeats one, waits for its turn with the others: so
    no job can repeat its stages without a pause.
    """
    is_later = commit.state.is_running and commit.state.is_after(state)
    return is_later and commit.delay <= 0


def _run_stage(
    runtime: Runtime, claim: Claim, lease: Lease, stages: Mapping[State, Stage]
) -> Commit | None:
    """Run the stage that the record asks for; None if the lease was lost."""
    try:
        step = StepContext(runtime, read_job(claim.record), lease, StepClock(claim.now))
    except UnreadableRecordError as error:
        return _hold_unreadable(lease.job_id, claim.record, error)
    try:
        commit = stages[step.job.state](step)
        record_end(step, commit)
    except LeaseLostError:
        return None
    except Exception as error:  # noqa: BLE001 - it is logged, or has a meaning of its own
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
