"""The Celery tasks of the worker: one name for each stage and for each kind of notification.

The only argument of a stage's task is the job id. Its name is for people: the record of the job
decides which stage runs.
"""

from types import MappingProxyType
from typing import Final

from celery import shared_task

from tasks.outbox.notifications import notify, notify_soon
from tasks.outbox.webhook_delivery import deliver_webhooks
from tasks.stages.deliver import deliver
from tasks.stages.generate import generate
from tasks.stages.prepare import prepare
from tasks.stages.render import render
from tasks.stages.settle import settle
from tasks.step.runner import JobFailedError, run_step
from worker.ledger.model.states import State
from worker.runtime.ticker import NOTIFY_TASK, TASKS, WEBHOOK_TASK

STAGES: Final = MappingProxyType(
    {
        State.PREPARING: prepare,
        State.GENERATING: generate,
        State.SETTLING: settle,
        State.RENDERING: render,
        State.DELIVERING: deliver,
    }
)


_STOPS: Final = frozenset({State.SUCCEEDED, State.HELD, State.CANCELLED})


def run_job_step(job_id: str) -> str:
    """Run the next steps of a job. If it ends or is held, others are notified in the same task."""
    try:
        result = run_step(job_id, STAGES)
    except JobFailedError:
        notify_soon(job_id)
        raise
    if result in _STOPS:
        notify_soon(job_id)
    return result


for _name in TASKS.values():
    shared_task(name=_name, throws=(JobFailedError,))(run_job_step)
shared_task(name=NOTIFY_TASK)(notify)
shared_task(name=WEBHOOK_TASK)(deliver_webhooks)
