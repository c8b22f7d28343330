"""The Celery tasks of a job's life: one a stage, so that Flower is readable.

Each takes the job id alone. The name is what the ticker believed; the record decides.
"""

from types import MappingProxyType
from typing import Final

from celery import shared_task

from tasks.outbox import notifications
from tasks.outbox import webhook_delivery as hooks
from tasks.stages import deliver, generate, prepare, render, settle
from tasks.step.runner import JobFailedError, run_step
from worker.ledger.model.states import State

STAGES: Final = MappingProxyType(
    {
        State.PREPARING: prepare.prepare,
        State.GENERATING: generate.generate,
        State.SETTLING: settle.settle,
        State.RENDERING: render.render,
        State.DELIVERING: deliver.deliver,
    }
)


@shared_task(name="tasks.prepare", throws=(JobFailedError,))
def prepare_task(job_id: str) -> str:
    """Image, session, upload."""
    return run_step(job_id, STAGES)


@shared_task(name="tasks.generate", throws=(JobFailedError,))
def generate_task(job_id: str) -> str:
    """The paid message and its stream."""
    return run_step(job_id, STAGES)


@shared_task(name="tasks.settle", throws=(JobFailedError,))
def settle_task(job_id: str) -> str:
    """A reading of what the message did."""
    return run_step(job_id, STAGES)


@shared_task(name="tasks.render", throws=(JobFailedError,))
def render_task(job_id: str) -> str:
    """An export, or a look at it."""
    return run_step(job_id, STAGES)


@shared_task(name="tasks.deliver", throws=(JobFailedError,))
def deliver_task(job_id: str) -> str:
    """Download, check, publish."""
    return run_step(job_id, STAGES)


@shared_task(name="tasks.notify")
def notify_task(entry: str) -> str:
    """Tell the world what became of a job."""
    return notifications.notify(entry)


@shared_task(name="tasks.hooks")
def hooks_task(receiver: str) -> str:
    """Send one receiver the webhooks that it is owed."""
    return hooks.deliver_webhooks(receiver)
