"""Commits for steps that failed because of a store, an image's server or a shortage of the machine.

The job waits, and its progress message says why.
"""

import random
from typing import Final

import structlog

from tasks.step.commits import (
    MAX_REPEAT_WAIT_SECONDS,
    fail,
    failure_facts,
    failures,
    hold,
    repeat_for,
    repeat_later,
    repeat_with_backoff,
    trouble_since,
)
from tasks.step.context import StepContext
from worker.file_refusal import FileRefusedError
from worker.ledger.model.states import Reason
from worker.ledger.model.steps import Commit
from worker.ledger.problems import Part, report_problem
from worker.policy import backoff_seconds
from worker.resources.shortages import MESSAGES, REMEDIES, Shortage
from worker.storage.errors import StoreError

log = structlog.get_logger(__name__)

MAX_SOURCE_SECONDS: Final = 3600.0
"""How long a job waits for an image's server that asks for pauses (Retry-After)."""
SOURCE_PATIENCE_SECONDS: Final = 300.0
"""How long a job waits for an image's server that does not answer, or fails."""
SOURCE: Final = "source"
"""The kind of failure of jobs that wait for an image's server. due.lua reads it."""


def wait_for_source(step: StepContext, error: FileRefusedError, wait: float) -> Commit:
    """Repeat the stage after the pause that the server asks for; fail if that takes too long."""
    # If the server asks for no pause, or a short one, and refuses again, the pause grows.
    since = trouble_since(step, SOURCE)
    wait = max(wait, min(MAX_REPEAT_WAIT_SECONDS, backoff_seconds(failures(step, SOURCE))))
    waited = step.clock.now_ms() - since
    if waited + wait * 1000 > MAX_SOURCE_SECONDS * 1000:
        message = (
            f"{error.message} Its server asks to wait for {_duration(wait)}; a job waits for at "
            f"most {_duration(MAX_SOURCE_SECONDS)} in total."
        )
        return fail(step, Reason(error.code), message, error.remedy)
    # Never earlier than the server asks, and not at the same time for all jobs.
    delay = wait * random.uniform(1.0, 1.2)  # noqa: S311 - not used for security
    message = f"{error.message} Its server asks to wait; next try in {_duration(delay)}."
    facts = failure_facts(step, SOURCE, message)
    return repeat_later(step, delay, trouble_since=str(since), **facts)


def repeat_fetch(step: StepContext, error: FileRefusedError) -> Commit:
    """Fetch again from a server that does not answer, or fails; fail if that takes too long."""
    repeated = repeat_for(step, SOURCE, error.message, SOURCE_PATIENCE_SECONDS)
    return repeated or fail(step, Reason(error.code), error.message, error.remedy)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} s"  # noqa: PLR2004


def wait_for_store(step: StepContext, error: StoreError) -> Commit:
    """Repeat the stage until the store works; hold the job if it fails for too long."""
    is_media = error.store == step.runtime.media.address
    part = Part.MEDIA_STORE if is_media else Part.OUTPUT_STORE
    _report(step, part, error.message, error.remedy)
    patience = step.runtime.settings.timing.store_patience_seconds
    repeated = repeat_for(step, part, error.message, patience)
    return repeated or hold(step, Reason.STORE, error.message)


def wait_for_shortage(step: StepContext, shortage: Shortage) -> Commit:
    """Repeat the stage until the shortage of the machine has ended. It never holds the job."""
    message = MESSAGES[shortage]
    _report(step, Part(shortage), message, REMEDIES[shortage])
    return repeat_with_backoff(step, shortage, message)


def _report(step: StepContext, part: Part, message: str, remedy: str) -> None:
    if report_problem(step.runtime.ledger, part, message, remedy):
        log.warning("jobs wait for a problem to end", part=part.value, error=message, remedy=remedy)
