"""Reports progress while a stage runs: in the job's record, and as Celery's PROGRESS state."""

from typing import Any

import structlog
from celery import current_app
from redis.exceptions import RedisError

from tasks.step.context import StepContext

log = structlog.get_logger(__name__)


def report_progress(step: StepContext, message: str) -> None:
    """Write a progress message; errors are logged, because they must not end the stage."""
    ledger, job = step.runtime.ledger, step.job
    facts = {"progress": message, "progress_at": str(step.clock.now_ms())}
    try:
        is_written = ledger.update_facts(job.id, step.lease.fence, facts)
    except RedisError as error:
        log.warning("progress not reported", error=str(error))
        return
    if is_written:
        store_progress(step, message)


def store_progress(step: StepContext, message: str) -> None:
    """Store a progress message that is in the job's record as Celery's PROGRESS state.

    If another worker has ended or held the job meanwhile, its result stays.
    """
    job = step.job
    try:
        backend: Any = current_app.backend
        backend.store_progress(job.id, {"stage": job.state.value, "message": message})
    except Exception as error:  # noqa: BLE001 - the result backend raises errors of many types
        log.warning("progress not reported", error=str(error))
