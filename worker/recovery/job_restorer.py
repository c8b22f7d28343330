"""Restore the jobs that an empty or old ledger lacks from the payment journal. It never pays.

Every write is safe twice, so that several processes may recover at the same time.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from worker.journal.attempts import AdoptAttempt, last_payment
from worker.journal.entries import End, Entry
from worker.journal.journal import Attempt, Journal, Page
from worker.ledger.ledger import Ledger
from worker.ledger.model.jobs import Job, UnreadableRecordError
from worker.ledger.model.states import State
from worker.ledger.model.submissions import NewJob
from worker.ledger.model.verdicts import AdoptVerdict
from worker.ledger.payments import Payments
from worker.reconciliation import adopt
from worker.recovery.actions import (
    RecoveryAction,
    choose_action,
    marked_message,
    needs_reading,
    readable_entry,
)
from worker.recovery.unreadable_entries import UnreadableEntries
from worker.storage.errors import StoreError
from worker.storage.store import Store

MAX_FOLLOWED: Final = 100
"""How many jobs of a chain of follow-up edits are submitted before the job that follows them."""


@dataclass(slots=True)
class Counts:
    """How many jobs a recovery has found in the journal, by its result.

    Attributes:
        delivered: Their ends were restored, those of succeeded jobs with their clips.
        resumed: They were paid for, and continue to their clips.
        held: Their last entry cannot be read, so that a person decides about them.
        known: The ledger had all that the journal has.
        unreadable: They have an entry that cannot be read.
    """

    delivered: int = 0
    resumed: int = 0
    held: int = 0
    known: int = 0
    unreadable: int = 0

    def add(self, action: RecoveryAction) -> None:
        """Count a job."""
        match action:
            case RecoveryAction.RESTORE_END:
                self.delivered += 1
            case RecoveryAction.RESUME:
                self.resumed += 1
            case RecoveryAction.HOLD:
                self.held += 1
                self.unreadable += 1
            case RecoveryAction.UNREADABLE:
                self.unreadable += 1
            case RecoveryAction.KNOWN:
                self.known += 1
            case RecoveryAction.NOT_CHARGED | RecoveryAction.WITHDRAW:
                pass


class JobRestorer:
    """Writes the jobs that the ledger has lost from the journal into the ledger.

    Args:
        ledger: The ledger.
        journal: Its journal.
        output: The store of the clips.
        dry_run: Count only, and write nothing.
    """

    def __init__(
        self, ledger: Ledger, journal: Journal, output: Store, *, dry_run: bool = False
    ) -> None:
        self.counts = Counts()
        self._ledger = ledger
        self._payments = Payments(ledger)
        self._journal = journal
        self._output = output
        self._dry_run = dry_run
        self._unreadable = UnreadableEntries(ledger)

    def restore_page(self, page: Page) -> None:
        """Restore the jobs of a page of the journal.

        Raises:
            JournalFailed: The journal does not answer.
            RedisError: Redis does not answer.
        """
        known = {job.id: job for job in self._ledger.jobs(page.jobs)}
        unreadable = self._unreadable.among(page.jobs)
        for job_id, names in page.jobs.items():
            if job_id in unreadable or needs_reading(known.get(job_id), names):
                self.counts.add(self._restore(job_id, known.get(job_id), names))
            else:
                self.counts.add(RecoveryAction.KNOWN)

    def _restore(self, job_id: str, job: Job | None, names: Sequence[str]) -> RecoveryAction:
        attempts = self._journal.attempts(job_id)
        action = choose_action(job, attempts, has_end="end" in names)
        if self._dry_run:
            return action
        if action in (RecoveryAction.UNREADABLE, RecoveryAction.HOLD):
            self._unreadable.add(job_id)
        else:
            self._unreadable.discard(job_id)
        if action is RecoveryAction.WITHDRAW:
            self._withdraw(job, attempts)
            return action
        payment = last_payment(attempts)
        nothing = (RecoveryAction.UNREADABLE, RecoveryAction.NOT_CHARGED, RecoveryAction.KNOWN)
        if payment is None or action in nothing:
            return action
        if job is None:
            job = self._submit(attempts)
        # The first step of a job that is to be held reads the journal, and holds the job.
        if job is None or action is RecoveryAction.HOLD:
            return RecoveryAction.KNOWN if job is None else action
        if action is RecoveryAction.RESTORE_END:
            return self._end(job, payment)
        return self._resume(job, payment)

    def _submit(self, attempts: Sequence[Attempt], depth: int = 0) -> Job | None:
        """Submit a job that the ledger lacks. None if its key is the tombstone of a pruned job."""
        entry = readable_entry(attempts)
        if entry is None:
            return None
        is_lost = entry.follows and not self._ledger.redis.exists(
            self._ledger.key("job", entry.follows)
        )
        if is_lost and depth < MAX_FOLLOWED:
            # A follow-up needs the record of the job that it follows, whose page may come later.
            self._submit(self._journal.attempts(entry.follows), depth + 1)
        if entry.batch_id:
            self._ledger.restore_batch(entry.batch_id, shared=entry.shared)
        self._ledger.submit(_new_job(entry))
        return self._read(entry.job_id)

    def _read(self, job_id: str) -> Job | None:
        try:
            return self._ledger.job(job_id)
        except UnreadableRecordError:
            return None

    def _resume(self, job: Job, payment: AdoptAttempt) -> RecoveryAction:
        if job.state is State.FAILED:
            self._ledger.retry(job.id)
        verdict = adopt(self._payments, job, payment)
        # If a worker owns the job, its step reads the journal and adopts the payment.
        is_resumed = verdict in (AdoptVerdict.OK, AdoptVerdict.BUSY)
        return RecoveryAction.RESUME if is_resumed else RecoveryAction.KNOWN

    def _withdraw(self, job: Job | None, attempts: Sequence[Attempt]) -> None:
        marked = marked_message(job, attempts)
        if job is not None and marked is not None and marked.mark is not None:
            self._payments.withdraw(job.id, job.call or "", marked.mark.value)

    def _end(self, job: Job, payment: AdoptAttempt) -> RecoveryAction:
        """Restore the job's end; if its clip is gone, resume it in its paid session."""
        ended, paid = self._journal.ended(job.id, payment.attempt.number), payment.attempt.entry
        resumed = self._resume(job, payment)
        if ended is None or paid is None or not self._has_clip(ended):
            return resumed
        facts = {name: value for name, value in ended.facts.items() if name != "stored"}
        reason = facts.pop("reason", "")
        verdict = self._payments.restore_end(job.id, paid.call, ended.state, reason, facts)
        return RecoveryAction.RESTORE_END if verdict is AdoptVerdict.OK else resumed

    def _has_clip(self, ended: End) -> bool:
        """Whether the clip of a succeeded job is still stored. No clip's name is used twice."""
        if ended.state != State.SUCCEEDED:
            return True
        try:
            clip = json.loads(ended.facts.get("clip", "null"))
            return clip is not None and self._output.exists(str(clip["key"]))
        except (StoreError, ValueError, KeyError, TypeError):
            return False


def _new_job(entry: Entry) -> NewJob:
    return NewJob(
        id=entry.job_id,
        payload=entry.payload,
        fingerprint=entry.fingerprint,
        priority=entry.priority,
        key=entry.key,
        batch_id=entry.batch_id,
        row=entry.row,
        parent_id=entry.parent_id,
        follows=entry.follows,
    )
