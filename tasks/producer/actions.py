"""Actions on jobs and batches: cancel, retry, release, pause and resume.

All functions raise ``RedisUnavailable`` if Redis does not answer. Decisions about paid messages
raise ``JournalFailed`` if the payment journal does not answer.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from typing import Any, Final

from tasks.producer import queries
from tasks.producer.closed_messages import close_messages, record_cancelled
from tasks.producer.messages import return_messages
from tasks.producer.producer import Producer
from tasks.producer.queries import is_batch
from tasks.producer.release_obstacles import release_obstacles
from tasks.schema.errors import UnknownId
from worker.ledger.model.states import Reason, State
from worker.ledger.model.verdicts import CancelVerdict, ReleaseVerdict, RetryVerdict
from worker.ledger.payments import Payments
from worker.ledger.reader import RowState

_CHANGED: Final[frozenset[str]] = frozenset(
    {ReleaseVerdict.OK, RetryVerdict.OK, CancelVerdict.CANCELLED, CancelVerdict.REQUESTED}
)
"""Verdicts of the ledger for a job that was changed."""


@dataclass(frozen=True, slots=True)
class Change:
    """The result of an action: how many jobs changed, and why the others did not."""

    id: str
    changed: int
    skipped: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Return the public JSON form."""
        return asdict(self)


def cancel(producer: Producer, any_id: str, *, confirmed: bool = False) -> Change:
    """Cancel a job, or all jobs of a batch that have not ended.

    A running job that has paid continues to its clip, and is counted as skipped. A held job that
    has paid would lose its clip: it is cancelled if ``confirmed`` is true, and else is counted as
    skipped.

    Raises:
        UnknownId: There is no job and no batch with this id.
        RedisUnavailable: Redis does not answer.
    """
    ledger = producer.ledger
    with producer.redis_errors():
        if not is_batch(producer, any_id):
            return _change(any_id, _cancel_jobs(producer, [any_id], confirmed=confirmed))
        # Queued jobs are cancelled first, so that none of them starts meanwhile.
        verdicts = list(ledger.cancel_waiting(any_id))
        # Jobs that have started meanwhile are cancelled below again, and counted only there.
        started = (CancelVerdict.REQUESTED, CancelVerdict.CONTINUES)
        verdicts = [verdict for verdict in verdicts if verdict not in started]
        for page in ledger.row_states(any_id):
            open_jobs = (row.job_id for row in page if not row.state.is_end)
            verdicts += _cancel_jobs(producer, open_jobs, confirmed=confirmed)
    return _change(any_id, verdicts)


def retry(producer: Producer, any_id: str) -> Change:
    """Retry a failed job, or the failed jobs of a batch. Nothing is paid twice.

    Raises:
        UnknownId: There is no job and no batch with this id.
        RedisUnavailable: Redis does not answer.
    """
    return _apply(
        producer, any_id, producer.ledger.retry_many, lambda row: row.state is State.FAILED
    )


def release(
    producer: Producer,
    any_id: str,
    *,
    mode: str = "",
    who: str = "",
    reason: Reason | None = None,
) -> Change:
    """Resume a held job, or the held jobs of a batch, at their first unfinished step.

    A job whose payment has an unknown outcome needs a decision, the ``mode`` ``pay_again`` or
    ``as_done``. ``who`` is recorded as the person who made it. With a ``reason``, only jobs that
    are held for it are resumed.

    Raises:
        UnknownId: There is no job and no batch with this id.
        RedisUnavailable: Redis does not answer.
    """
    if reason is not None and not is_batch(producer, any_id):
        job = queries.get(producer, any_id)
        if job.state is State.HELD and (job.reason is None or job.reason.code is not reason):
            return Change(any_id, 0, {"other_reason": 1})
    return _apply(
        producer,
        any_id,
        partial(_release_jobs, producer, mode, who),
        lambda row: row.state is State.HELD and reason in (None, row.reason),
    )


def release_reason(producer: Producer, reason: Reason, *, mode: str = "", who: str = "") -> Change:
    """Resume all jobs that are held for a reason; ``mode`` and ``who`` are as in ``release``."""
    with producer.redis_errors():
        held = producer.ledger.held_ids(reason)
        if reason is Reason.PLAN:
            for account in producer.ledger.holding_accounts(reason):
                Payments(producer.ledger).clear_plan_refused(account)
        if reason in (Reason.BUDGET, Reason.BLOCKED):
            return _change(reason.value, _release_jobs(producer, mode, who, held))
        return _change(reason.value, _release_unchecked(producer, mode, who, held))


def release_set_aside(producer: Producer) -> Change:
    """Resume all jobs that can be read again, and handle all messages again that were set aside."""
    with producer.redis_errors():
        returned = return_messages(producer)
        change = _change("set-aside", producer.ledger.release_many(producer.ledger.set_aside()))
    return replace(change, changed=change.changed + returned)


def pause(producer: Producer, batch_id: str) -> None:
    """Stop starting jobs of a batch. Jobs that have started continue.

    Raises:
        UnknownId: There is no such batch.
    """
    _switch_batch(producer, batch_id, producer.ledger.pause)


def resume(producer: Producer, batch_id: str) -> None:
    """Start the jobs of a paused batch again.

    Raises:
        UnknownId: There is no such batch.
    """
    _switch_batch(producer, batch_id, producer.ledger.resume)


def _release_jobs(producer: Producer, mode: str, who: str, job_ids: Sequence[str]) -> list[str]:
    """Release jobs, except those that would be held again immediately.

    Returns:
        The verdict on each job, or the reason that would hold it again.
    """
    obstacles = {} if mode else release_obstacles(producer, job_ids)
    free = [job_id for job_id in job_ids if job_id not in obstacles]
    return [*_release_unchecked(producer, mode, who, free), *obstacles.values()]


def _release_unchecked(
    producer: Producer, mode: str, who: str, job_ids: Sequence[str]
) -> list[str]:
    """Release jobs, even if they will be held again.

    To pay again, their messages are closed first. A job that the payment journal then lets continue
    needs no decision any more.
    """
    resumed = set(close_messages(producer, job_ids)) if mode == "pay_again" else set()
    held = [job_id for job_id in job_ids if job_id not in resumed]
    # A decision applies to this hold. Its request may arrive late, when the job is held again.
    revisions = {job.id: job.revision for job in producer.ledger.jobs(held)} if mode else {}
    verdicts = producer.ledger.release_many(held, mode=mode, who=who, revisions=revisions)
    return [*verdicts, *(ReleaseVerdict.OK for _ in resumed)]


def _cancel_jobs(
    producer: Producer, job_ids: Iterable[str], *, confirmed: bool
) -> list[CancelVerdict]:
    """Cancel jobs. If it is confirmed, their messages are also closed in the payment journal."""
    ids = list(job_ids)
    if confirmed:
        close_messages(producer, ids)
    verdicts = producer.ledger.cancel_many(ids, spare_paid=not confirmed)
    if confirmed:
        record_cancelled(producer, ids)
    return verdicts


def _switch_batch(producer: Producer, batch_id: str, switch: Callable[[str], bool]) -> None:
    with producer.redis_errors():
        if not switch(batch_id):
            raise UnknownId(f"There is no batch {batch_id}.")


def _apply(
    producer: Producer,
    any_id: str,
    action: Callable[[list[str]], Sequence[str]],
    selects: Callable[[RowState], bool],
) -> Change:
    """Apply an action to one job, or to the jobs of a batch that are selected."""
    with producer.redis_errors():
        if not is_batch(producer, any_id):
            return _change(any_id, action([any_id]))
        jobs = (
            [row.job_id for row in page if selects(row)]
            for page in producer.ledger.row_states(any_id)
        )
        return _change(any_id, chain.from_iterable(map(action, jobs)))


def _change(any_id: str, verdicts: Iterable[str]) -> Change:
    counts = Counter(verdicts)
    return Change(
        id=any_id,
        changed=sum(n for verdict, n in counts.items() if verdict in _CHANGED),
        skipped={verdict.lower(): n for verdict, n in counts.items() if verdict not in _CHANGED},
    )
