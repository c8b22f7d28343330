"""The commit that follows from each exception of a stage."""

import random
from typing import Final

import sentry_sdk
import structlog
from redis.exceptions import RedisError

from tasks.step.commits import (
    fail,
    failures,
    hold,
    repeat_later,
    repeat_with_backoff,
    with_jitter,
)
from tasks.step.context import StepContext
from tasks.step.credentials import AccountElsewhereError
from tasks.step.decisions import apply_decision, decide_error
from tasks.step.problems import repeat_fetch, wait_for_shortage, wait_for_source, wait_for_store
from worker.accounts.credentials import AccountCoolingDownError, TokenPendingError
from worker.file_refusal import FileRefusedError
from worker.journal.stores import JournalFailed
from worker.ledger.connections.outages import is_outage
from worker.ledger.model.states import Reason
from worker.ledger.model.steps import Commit
from worker.nemo.errors import NemoError
from worker.resources.memory_budget import MemoryUnavailableError
from worker.resources.shortages import Shortage, shortage_of
from worker.runtime.checks.store_ids import other_stores
from worker.storage.errors import NotStoredError, StoreError

log = structlog.get_logger(__name__)

MAX_REPEATS: Final = 5
"""How often in a row a stage is repeated after an unexpected error."""
JOURNAL_SECONDS: Final = 5.0
"""How long a job waits before it tries the payment journal again."""
PENDING_SECONDS: Final = 1.0
"""How long to wait for a token, for memory that another job uses, or for another worker."""


def commit_for_exception(step: StepContext, error: Exception) -> Commit:
    """Return the commit for a step whose stage raised an exception.

    Raises:
        RedisError: Redis does not answer, so that nothing can be committed.
    """
    match error:
        case RedisError() if is_outage(error):
            # The commit would fail too. The job is dispatched again after its lease.
            raise error
        case TokenPendingError() | MemoryUnavailableError() | AccountElsewhereError():
            return repeat_later(step, with_jitter(PENDING_SECONDS))
        case AccountCoolingDownError():
            # Spread over one more pause, so that the jobs do not all continue at the same time.
            stagger = random.uniform(0, step.runtime.settings.timing.rate_limit_seconds)  # noqa: S311
            return repeat_later(step, error.wait + stagger)
        case JournalFailed():
            # Until the journal answers, nothing is paid, and jobs that have paid wait.
            # The journal's monitor warns of the outage once. This line is for each job.
            log.info("payment journal failed", error=str(error))
            trouble = f"{error} {error.remedy}"
            return repeat_later(step, with_jitter(JOURNAL_SECONDS), trouble=trouble)
        case NemoError():
            failed_at = step.clock.now_ms()
            return apply_decision(step, decide_error(step, error), error, failed_at)
        case FileRefusedError() if (shortage := shortage_of(error)) and _may_be_short(step, error):
            return wait_for_shortage(step, shortage)
        case FileRefusedError() if error.repeatable and error.wait is not None:
            return wait_for_source(step, error, error.wait)
        case FileRefusedError() if error.repeatable:
            return repeat_fetch(step, error)
        case FileRefusedError():
            return fail(step, Reason(error.code), error.message, error.remedy)
        case NotStoredError() if other := _other_media_stores(step, error):
            return wait_for_store(step, other)
        case NotStoredError():
            return fail(step, Reason.SOURCE_UNREACHABLE, error.message, error.remedy)
        case StoreError():
            if error.shortage is not None:
                return wait_for_shortage(step, error.shortage)
            return wait_for_store(step, error)
        case _ if shortage := shortage_of(error):
            return wait_for_shortage(step, shortage)
        case _:
            name = type(error).__name__
            log.error("unexpected exception in step", exc_info=error)
            sentry_sdk.capture_exception(error)
            if failures(step, "fault") < MAX_REPEATS:
                return repeat_with_backoff(step, "fault", name)
            return hold(step, Reason.POISON, f"An unexpected error occurred: {name}.")


def _other_media_stores(step: StepContext, error: NotStoredError) -> StoreError | None:
    """Return the error if workers use different media stores, so that a stored file is missing."""
    runtime = step.runtime
    if error.store != runtime.media.address:
        return None
    return other_stores(runtime.ledger, "media", runtime.media)


def _may_be_short(step: StepContext, error: FileRefusedError) -> bool:
    """Return whether a shortage may be the reason why a file was refused.

    Decoders raise `MemoryError` for some damaged images too. So after some repeats, the image
    counts as damaged.
    """
    if isinstance(error.__cause__, MemoryError):
        return failures(step, Shortage.MEMORY) < MAX_REPEATS
    return True
