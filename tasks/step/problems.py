"""Commits of a step that met a problem of a store or of its machine: the job waits and says so."""

from typing import Final

import structlog

from tasks.step.commits import failure_facts, failures, hold, retry_later, with_jitter
from tasks.step.context import StepContext
from worker.ledger.model.states import Reason
from worker.ledger.model.steps import Commit
from worker.ledger.problems import Part, report_problem
from worker.policy import backoff_seconds
from worker.resources.shortages import MESSAGES, REMEDIES, Shortage
from worker.storage.errors import StoreError

log = structlog.get_logger(__name__)

MAX_WAIT_SECONDS: Final = 60.0
"""Longest wait before the stage is repeated. A problem counts as over after three of them."""


def wait_for_store(step: StepContext, error: StoreError) -> Commit:
    """Repeat the stage until the store works; hold the job if it fails for too long."""
    is_media = error.store == step.runtime.media.address
    part = Part.MEDIA_STORE if is_media else Part.OUTPUT_STORE
    _report(step, part, error.message, error.remedy)
    now = step.runtime.ledger.now_ms()
    since = step.job.number("trouble_since") if failures(step, part) else now
    if now - since >= step.runtime.settings.timing.store_patience_seconds * 1000:
        return hold(step, Reason.STORE, error.message)
    return _wait(step, part, error.message, trouble_since=str(since))


def wait_for_shortage(step: StepContext, shortage: Shortage) -> Commit:
    """Repeat the stage until the machine has what was short. The job is never held for it."""
    message = MESSAGES[shortage]
    _report(step, Part(shortage), message, REMEDIES[shortage])
    return _wait(step, shortage, message)


def _report(step: StepContext, part: Part, message: str, remedy: str) -> None:
    if report_problem(step.runtime.ledger, part, message, remedy):
        log.warning("jobs wait for a problem to end", part=part.value, error=message, remedy=remedy)


def _wait(step: StepContext, kind: str, message: str, **facts: str) -> Commit:
    wait = min(MAX_WAIT_SECONDS, backoff_seconds(failures(step, kind)))
    return retry_later(step, with_jitter(wait), **facts, **failure_facts(step, kind, message))
