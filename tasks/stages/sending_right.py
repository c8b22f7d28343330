"""The right to send a paid message: its journal entry, and the mark if it was not charged."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

import structlog

from tasks.step.context import LeaseLostError, StepContext
from tasks.step.progress import report_progress
from worker.journal.boot_clock import SEND_WITHIN_SECONDS, boot_seconds
from worker.journal.entries import Entry, Mark
from worker.journal.journal import Creation
from worker.journal.stores import JournalFailed

log = structlog.get_logger(__name__)

T = TypeVar("T")

RETRY_SECONDS: Final = 1.0
"""How long to wait before a failed write of the journal is repeated."""


class SendingRight:
    """The right to send the message of an entry: only its creator has it, and for a limited time.

    Args:
        step: The step, whose intent to pay is recorded.
        entry: The entry.
    """

    def __init__(self, step: StepContext, entry: Entry) -> None:
        self.entry = entry
        self._step = step
        self._since = boot_seconds()
        # Shorter than a lease, so that no message is sent after the lease of its job has ended.
        self._limit = min(SEND_WITHIN_SECONDS, step.runtime.settings.timing.lease_seconds / 2)

    def create(self) -> bool:
        """Create the entry. False if another worker has created it.

        A creation whose outcome is unknown is repeated until the journal answers, because the
        intent may not be withdrawn before that.

        Raises:
            LeaseLostError: The step has lost its job meanwhile. The message is not sent.
        """
        journal, entry = self._step.runtime.journal, self.entry
        if self._repeat(lambda: journal.create(entry)) is not Creation.CREATED:
            return False
        if entry.previous:
            # From now on, the draft in this entry shows what the previous message did.
            self._repeat(lambda: journal.name_next(entry.previous, entry))
        return True

    def may_send(self) -> bool:
        """Return whether the first try to create the entry is recent enough to send the message."""
        return boot_seconds() - self._since <= self._limit

    def withdraw(self, why: str) -> None:
        """Mark in the journal that the message was not charged, then withdraw its intent.

        Args:
            why: ``not_sent``, or the reason of a reply that proves that nothing was charged.

        Raises:
            LeaseLostError: The step lost its job before the journal answered.
        """
        runtime, entry = self._step.runtime, self.entry
        mark = Mark.NOT_SENT if why == Mark.NOT_SENT else Mark.NOT_CHARGED
        self._repeat(lambda: runtime.journal.mark(entry.job_id, entry.attempt, mark, why))
        if not runtime.payments.withdraw(entry.job_id, entry.call, why):
            raise LeaseLostError

    def _repeat(self, write: Callable[[], T]) -> T:
        """Repeat a write until the journal answers, or the step has lost its job."""
        while True:
            try:
                return write()
            except JournalFailed as error:
                lease = self._step.lease
                log.warning("payment journal failed", error=str(error), attempt=self.entry.attempt)
                if lease.lost or lease.deadline <= time.monotonic():
                    raise LeaseLostError from error
                report_progress(self._step, f"{error} {error.remedy}")
                time.sleep(RETRY_SECONDS)
