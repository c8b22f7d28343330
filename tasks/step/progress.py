"""What a running job tells while it runs: the record's progress, and Celery's PROGRESS."""

import structlog
from celery import current_app

from tasks.step.context import Step

log = structlog.get_logger(__name__)


def report_progress(step: Step, message: str) -> None:
    """Say where a job stands, as far as that can be told now."""
    ledger, job = step.runtime.ledger, step.job
    try:
        facts = {"progress": message, "progress_at": str(ledger.now_ms())}
        if not ledger.update_facts(job.id, step.lease.fence, facts):
            return
        current_app.backend.store_result(
            job.id, {"stage": job.state.value, "message": message}, "PROGRESS"
        )
    except Exception as error:  # noqa: BLE001 - whatever the backend raises
        # A word that is lost is no harm; a stream that is closed for it would be.
        log.warning("progress could not be told", error=str(error))
