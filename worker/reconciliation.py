"""Compare a job's payments in the ledger with the payment journal, and correct the ledger.

The journal decides whether an attempt was paid, because the ledger can lose records. The stages, a
recovery, and the commands before a person's decision use this module.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from worker.journal.attempts import AdoptAttempt, next_attempt
from worker.journal.entries import Entry, Mark
from worker.journal.journal import Attempt, Creation, Journal
from worker.ledger.model.jobs import Job
from worker.ledger.model.verdicts import AdoptVerdict
from worker.ledger.payments import PaidAttempt, Payments

_END_FACTS: Final = ("draft", "timeline", "reply", "render_id", "clip_name")


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The current turn's message was not charged, and its intent was withdrawn."""


@dataclass(frozen=True, slots=True)
class MaybeCharged:
    """The current turn's message was, or may have been, sent and charged."""


Review = Withdrawn | AdoptAttempt | MaybeCharged
"""What the journal says about the current turn's message."""


def review(journal: Journal, payments: Payments, job: Job) -> Review:
    """Look up the current turn's message in the journal, and withdraw its intent if it is not paid.

    An attempt without an entry is closed: its message can no longer be sent.

    Returns:
        `AdoptAttempt` if the entry of this attempt belongs to another message, and the job has to
        adopt a payment. `MaybeCharged` also if the entry cannot be read, if the message was paid
        under another journal, and for a message of a version without a journal.

    Raises:
        JournalFailed: The journal does not answer. No intent was withdrawn.
    """
    turn = job.message_turn
    if turn is None or not turn.attempt:
        return MaybeCharged()
    # The message was paid under another journal: this one says nothing about it.
    if payments.journal_id() not in ("", journal.id()):
        return MaybeCharged()
    found = journal.attempt(job.id, turn.attempt)
    if found is None:
        closing = new_entry(job, call=turn.call, attempt=turn.attempt, mark=Mark.NEVER_SENT)
        if journal.create(closing) is Creation.CREATED:
            payments.withdraw(job.id, turn.call, Mark.NEVER_SENT.value)
            return Withdrawn()
        found = journal.attempt(job.id, turn.attempt)
    if found is None or found.entry is None:
        return MaybeCharged()
    if found.entry.call != turn.call:
        # Another message has the attempt: that of the record can never be sent.
        decision = next_attempt(journal.attempts(job.id), job.decided_attempts)
        if isinstance(decision, AdoptAttempt):
            return decision
        payments.withdraw(job.id, turn.call, Mark.NEVER_SENT.value)
        return Withdrawn()
    if found.mark is not None:
        payments.withdraw(job.id, turn.call, found.mark.value)
        return Withdrawn()
    return MaybeCharged()


def adopt(
    payments: Payments,
    job: Job,
    payment: AdoptAttempt,
    *,
    fence: str = "",
    replaces: str = "",
) -> AdoptVerdict:
    """Write a payment from the journal, and those of earlier turns, into the job's record.

    Args:
        payments: The ledger's payments.
        job: The job. Without a fence, no worker may own it.
        payment: The payment.
        fence: The owner's fence; "" for a recovery.
        replaces: The call of the current turn that can never be sent, or "".
    """
    earlier = {
        each.entry.turn: _paid(each, job) for each in payment.earlier if each.entry is not None
    }
    return payments.adopt(
        job.id,
        _paid(payment.attempt, job),
        fence=fence,
        earlier=list(earlier.values()),
        replaces=replaces,
    )


def new_entry(
    job: Job,
    *,
    call: str,
    attempt: int,
    created_at: int = 0,
    price: float = 0.0,
    previous: str = "",
    draft: str = "",
    mark: Mark | None = None,
) -> Entry:
    """Return the entry of an attempt, from the job's record."""
    facts = job.facts
    return Entry(
        job_id=job.id,
        attempt=attempt,
        turn=job.turn,
        call=call,
        nonce=uuid4().hex,
        created_at=created_at,
        account=facts.get("account", ""),
        session_id=facts.get("session_id", ""),
        task_id=facts.get("task_id", ""),
        baseline=facts.get("baseline", ""),
        price=price,
        payload=job.payload,
        fingerprint=facts.get("fingerprint", ""),
        key=facts.get("key", ""),
        priority=job.flow.rpartition(":")[2],
        batch_id=job.batch_id or "",
        row=job.number("row"),
        parent_id=job.parent_id or "",
        follows=facts.get("follows", ""),
        shared=bool(facts.get("shared")),
        previous=previous,
        draft=draft,
        mark=mark,
    )


def end_facts(facts: Mapping[str, str]) -> dict[str, str]:
    """Return what the journal keeps of the facts of a job that ends."""
    kept = {name: facts[name] for name in _END_FACTS if facts.get(name)}
    if facts.get("clip") and facts.get("clip_name"):
        kept["clip"] = facts["clip"]
        kept["stored"] = f"{facts['clip_name']} {json.loads(facts['clip'])['sha256']}"
    return kept


def _paid(attempt: Attempt, job: Job) -> PaidAttempt:
    """Return the payment of an attempt. If its entry cannot be read, only its number is known."""
    entry = attempt.entry
    if entry is None:
        return PaidAttempt(
            number=attempt.number,
            turn=job.turn,
            call=f"{job.id}:{job.turn}:0:unreadable{attempt.number}",
            price=0.0,
            session_id=job.facts.get("session_id", ""),
            task_id=job.facts.get("task_id", ""),
            account=job.facts.get("account", ""),
            baseline=job.facts.get("baseline", ""),
            sent_at=job.created_at,
        )
    return PaidAttempt(
        number=entry.attempt,
        turn=entry.turn,
        call=entry.call,
        price=entry.price,
        session_id=entry.session_id,
        task_id=entry.task_id,
        account=entry.account,
        baseline=entry.baseline,
        sent_at=entry.created_at,
        shared=entry.shared,
    )
