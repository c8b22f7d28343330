"""What would hold a job again as soon as it is released: the caller is told instead."""

from collections.abc import Iterable, Mapping

from tasks.producer.producer import Producer
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import Reason, State
from worker.ledger.pages import pages


def release_obstacles(producer: Producer, job_ids: Iterable[str]) -> Mapping[str, str]:
    """Return the held jobs that a release does not help, with the reason for each.

    The reasons are ``budget``, ``plan`` and ``blocked``: what a release alone cannot change, and
    the ledger knows.
    """
    obstacles = _Obstacles(producer)
    held = (
        job
        for page in pages(job_ids)
        for job in producer.ledger.jobs(page)
        if job.state is State.HELD
    )
    return {job.id: job.reason.value for job in held if job.reason and obstacles.keep_held(job)}


class _Obstacles:
    """Reads each batch and each account once."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._price = producer.clip_price()
        self._known: dict[tuple[Reason, str], bool] = {}

    def keep_held(self, job: Job) -> bool:
        match job.reason:
            case Reason.BUDGET if job.batch_id:
                return self._once(Reason.BUDGET, job.batch_id)
            case Reason.PLAN if job.call is None:
                return self._once(Reason.PLAN, job.fact("account") or "")
            case Reason.BLOCKED:
                return self._once(Reason.BLOCKED, job.fact("blocked_by") or "")
        return False

    def _once(self, reason: Reason, name: str) -> bool:
        if (reason, name) not in self._known:
            self._known[reason, name] = self._lasts(reason, name)
        return self._known[reason, name]

    def _lasts(self, reason: Reason, name: str) -> bool:
        """Return whether a batch's budget, an account's plan or another job still holds jobs."""
        ledger = self._producer.ledger
        if reason is Reason.BUDGET:
            batch = ledger.batch(name)
            return batch is not None and not batch.may_spend(self._price)
        if reason is Reason.PLAN:
            return ledger.account(name).plan_refused
        blocker = ledger.job(name)
        return blocker is not None and blocker.state in (State.HELD, State.QUEUED)
