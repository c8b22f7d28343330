"""What a running job tells while it runs: the record's progress, and Celery's PROGRESS."""

from celery import current_app
from redis.exceptions import RedisError

from tasks.step import Step
from worker.fleet import server_ms


def tell_progress(step: Step, message: str) -> None:
    """Say where a job stands. A lost word is no harm, so trouble with Redis is passed over."""
    ledger, job = step.runtime.ledger, step.job
    try:
        facts = {"progress": message, "progress_at": str(server_ms(ledger))}
        if not ledger.record(job.id, step.lease.fence, facts):
            return
        current_app.backend.store_result(
            job.id, {"stage": job.state.value, "message": message}, "PROGRESS"
        )
    except RedisError:
        return
