"""Reasons why a release would not help a job, because it would be held again immediately."""

from collections.abc import Iterable, Mapping
from functools import cache

from tasks.producer.producer import Producer
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import Reason, State
from worker.ledger.pages import pages


def release_obstacles(producer: Producer, job_ids: Iterable[str]) -> Mapping[str, str]:
    """Return the held jobs that a release does not help, with the reason for each.

    The reasons are ``budget``, ``plan`` and ``blocked``, which a release does not change, and which
    the ledger shows.
    """
    price = producer.clip_price()

    @cache
    def lasts(reason: Reason, name: str) -> bool:
        return _lasts(producer, price, reason, name)

    obstacles = {}
    for page in pages(job_ids):
        for job in producer.ledger.jobs(page):
            cause = _cause(job)
            if cause is not None and lasts(*cause):
                obstacles[job.id] = cause[0].value
    return obstacles


def _cause(job: Job) -> tuple[Reason, str] | None:
    """Return why a job is held, with the batch, account or job that is the cause.

    Returns:
        None if the job is not held, or if the ledger does not show whether the cause lasts.
    """
    if job.state is not State.HELD:
        return None
    match job.reason:
        case Reason.BUDGET if job.batch_id:
            return Reason.BUDGET, job.batch_id
        case Reason.PLAN if job.call is None:
            return Reason.PLAN, job.fact("account") or ""
        case Reason.BLOCKED:
            return Reason.BLOCKED, job.fact("blocked_by") or ""
    return None


def _lasts(producer: Producer, price: float, reason: Reason, name: str) -> bool:
    """Return whether the budget of a batch, the plan of an account or a job still holds jobs."""
    if reason is Reason.BUDGET:
        batch = producer.ledger.batch(name)
        return batch is not None and not batch.may_spend(price)
    if reason is Reason.PLAN:
        return producer.ledger.account(name).plan_refused
    blocker = producer.ledger.job(name)
    return blocker is not None and blocker.state in (State.HELD, State.QUEUED)
