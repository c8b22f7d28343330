"""Compare a job's payments in the ledger with the payment journal, and correct the ledger.

The journal decides whether an attempt was paid, because the ledger can lose records. The stages, a
recovery, and the commands before a person's decision use this module.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final
from uuid import uuid4

from worker.journal.attempts import AdoptAttempt, last_payment, next_attempt
from worker.journal.entries import Entry, Mark
from worker.journal.journal import Attempt, Creation, Journal
from worker.ledger.model.jobs import Job, Turn
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
        adopt a payment; also if the journal has a later payment of the job. `MaybeCharged` also if
        the entry cannot be read, if the message was paid under another journal, and for a message
        of a version without a journal.

    Raises:
        JournalFailed: The journal does not answer. No intent was withdrawn.
    """
    turn = job.message_turn
    if turn is None or not turn.attempt:
        return later_payment(journal, payments, job) or MaybeCharged()
    # The message was paid under another journal: this one says nothing about it.
    if not _is_own(journal, payments):
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
    return later_payment(journal, payments, job) or MaybeCharged()


def later_payment(journal: Journal, payments: Payments, job: Job) -> AdoptAttempt | None:
    """Return the job's last payment, if the record lacks it; None if the record has it.

    The ledger has then lost the turn that the payment opened or belongs to.

    Raises:
        JournalFailed: The journal does not answer.
    """
    if not _is_own(journal, payments):
        return None
    payment = last_payment(journal.attempts(job.id))
    if payment is None or payment.attempt.number < job.last_attempt:
        return None
    is_on_record = any(_is_entry_of(turn, payment.attempt) for turn in job.turns)
    return None if is_on_record else payment


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
        replaces: The call of the current turn that can never be sent, if the record does not have
            it yet; else "".
    """
    replaces = replaces or _replaced_call(job, payment)
    return payments.adopt(
        job.id,
        _last_paid(payment, job),
        fence=fence,
        earlier=_earlier_paid(payment, job),
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
        opened_by=next((t.outcome for t in reversed(job.turns) if t.number < job.turn), ""),
        mark=mark,
    )


def end_facts(facts: Mapping[str, str]) -> dict[str, str]:
    """Return what the journal keeps of the facts of a job that ends."""
    kept = {name: facts[name] for name in _END_FACTS if facts.get(name)}
    if facts.get("clip") and facts.get("clip_name"):
        kept["clip"] = facts["clip"]
        kept["stored"] = f"{facts['clip_name']} {json.loads(facts['clip'])['sha256']}"
    return kept


def _replaced_call(job: Job, payment: AdoptAttempt) -> str:
    """Return the call of the current turn, if its message was not charged; else "".

    Args:
        job: The job.
        payment: Its last payment, with all that were made before it.
    """
    turn = job.message_turn
    # A message of a version without a journal has no entry, and may have been charged.
    if turn is None or not turn.attempt:
        return ""
    return "" if any(_is_entry_of(turn, each) for each in payment.earlier) else turn.call


def _is_own(journal: Journal, payments: Payments) -> bool:
    """Return whether the ledger's payments are in this journal."""
    return payments.journal_id() in ("", journal.id())


def _is_entry_of(turn: Turn, attempt: Attempt) -> bool:
    """Return whether an attempt is the one of a turn. An entry that cannot be read may be it."""
    is_its_call = attempt.entry is None or attempt.entry.call == turn.call
    return attempt.number == turn.attempt and is_its_call


def _last_paid(payment: AdoptAttempt, job: Job) -> PaidAttempt:
    """Return the last payment. If its entry cannot be read, only its number is known.

    Its turn is then the one after that of the last payment that can be read, or a later one.
    """
    entry, number = payment.attempt.entry, payment.attempt.number
    if entry is not None:
        return _paid(entry)
    read = (each.entry.turn for each in payment.earlier if each.entry is not None)
    call = f"{job.id}:{job.turn}:0:unreadable{number}"
    return _unreadable(job, number, max(job.turn, max(read, default=0) + 1), call)


def _earlier_paid(payment: AdoptAttempt, job: Job) -> list[PaidAttempt]:
    """Return the payments before the last one, with what opened the turns after theirs.

    One whose entry cannot be read is left out, unless it is that of the current turn.
    """
    found: dict[int, PaidAttempt] = {}
    turn = job.message_turn
    for each, following in pairwise([*payment.earlier, payment.attempt]):
        if each.entry is not None:
            paid = _paid(each.entry)
        elif turn is not None and each.number == turn.attempt:
            paid = _unreadable(job, each.number, turn.number, turn.call)
        else:
            continue
        opened_by = following.entry.opened_by if following.entry else ""
        found[paid.turn] = replace(paid, outcome=opened_by or "question")
    if turn is not None and not turn.attempt:
        # Its message is of a version without a journal.
        found[turn.number] = replace(
            _unreadable(job, 0, turn.number, turn.call), outcome="question"
        )
    return list(found.values())


def _paid(entry: Entry) -> PaidAttempt:
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


def _unreadable(job: Job, number: int, turn: int, call: str) -> PaidAttempt:
    """Return the payment of an attempt whose entry cannot be read, as far as the record shows."""
    return PaidAttempt(
        number=number,
        turn=turn,
        call=call,
        price=0.0,
        session_id=job.facts.get("session_id", ""),
        task_id=job.facts.get("task_id", ""),
        account=job.facts.get("account", ""),
        baseline=job.facts.get("baseline", ""),
        sent_at=job.created_at,
    )
