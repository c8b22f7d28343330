"""Report progress while a stage runs: in the job's record, and as Celery's PROGRESS state."""

import structlog
from celery import current_app

from tasks.step.context import StepContext

log = structlog.get_logger(__name__)


def report_progress(step: StepContext, message: str) -> None:
    """Write a progress message; errors are logged, because they must not end the stage."""
    ledger, job = step.runtime.ledger, step.job
    try:
        facts = {"progress": message, "progress_at": str(ledger.now_ms())}
        if not ledger.update_facts(job.id, step.lease.fence, facts):
            return
        current_app.backend.store_result(
            job.id, {"stage": job.state.value, "message": message}, "PROGRESS"
        )
    except Exception as error:  # noqa: BLE001 - the result backend raises errors of many types
        log.warning("progress not reported", error=str(error))
