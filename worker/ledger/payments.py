"""Payments: a paid message is sent only after its intent has been written to disk.

Source: docs/architecture.md, "A payment".
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Final

from worker.ledger.ledger import LEASE_MARGIN_MS, Ledger
from worker.ledger.model.steps import field_pairs
from worker.ledger.model.verdicts import AdoptVerdict, BeginVerdict

PLAN_PROBE_MS: Final = 60_000
"""Time until an export is tried again after an account's plan refused one; it doubles."""
MAX_PLAN_PROBE_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class PaymentIntent:
    """The reply to an intent to pay. Only ``OK`` allows the message to be sent."""

    verdict: BeginVerdict
    wait: float = 0.0  # seconds an account still cools down
    previous: str = ""
    """The journal entry of another job's message before this one in the session, as
    ``<job id> <attempt>``, or ""."""


@dataclass(frozen=True, slots=True)
class PaidAttempt:
    """A payment that the journal has and its job's record lacks.

    Attributes:
        number: The number of the attempt.
        turn: The turn that was paid for.
        call: The id of the paid call.
        price: Credits that were reserved.
        session_id: The session in which the message was sent.
        task_id: The API's task id of the session.
        account: The account.
        baseline: The fingerprint of the session's state before the message.
        sent_at: When its intent was written, in ms of the ledger's clock. If the message was sent,
            it was after that.
        shared: Whether the session is the batch's shared one.
        outcome: ``sent``; or what opened the next turn, ``question`` or ``pay_again``.
    """

    number: int
    turn: int
    call: str
    price: float
    session_id: str
    task_id: str
    account: str
    baseline: str
    sent_at: int
    shared: bool = False
    outcome: str = "sent"

    def as_argument(self) -> dict[str, Any]:
        """Return the payment in the form that the script takes: all values are texts."""
        return {
            **{name: str(value) for name, value in asdict(self).items()},
            "shared": "1" if self.shared else "",
        }


class Payments:
    """Writes and withdraws the intents of paid messages, and records the state of accounts."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def journal_id(self) -> str:
        """The id of the ledger's journal; "" if nothing was paid with one."""
        return str(self._ledger.redis.hget(self._ledger.key("meta"), "journal_id") or "")

    def begin(
        self,
        job_id: str,
        fence: str,
        *,
        turn: int,
        call: str,
        cost: float,
        cap: int,
        session_id: str = "",
        attempt: int = 0,
        journal_id: str = "",
        facts: Mapping[str, str] = MappingProxyType({}),
    ) -> PaymentIntent:
        """Write the intent to pay.

        It is on disk when the reply arrives: a worker pays only where Redis flushes each write to
        disk before it replies (see `worker.runtime.checks.durability`). The replicas that must
        confirm it have done so.

        Args:
            job_id: The job.
            fence: The owner's fence.
            turn: The turn to pay for.
            call: The id of the paid call, which is new for each attempt.
            cost: Credits to reserve at least.
            cap: The most messages in flight of the account.
            session_id: The session whose state was read before. The record must name it too.
            attempt: The number of the attempt's entry in the payment journal.
            journal_id: The journal, which must be the ledger's, and becomes it if that has none;
                "" is not compared.
            facts: Facts of the step, which are written with the intent.

        Raises:
            NotReplicatedError: Too few replicas confirmed the intent: the message must not be sent.
        """
        scripts = self._ledger.scripts
        slot_ms = self._ledger.lease_ms + LEASE_MARGIN_MS
        intent = (turn, call, cost, slot_ms, cap, session_id, attempt, journal_id)
        arguments = (*intent, *field_pairs(facts))
        reply = scripts.run_confirmed("begin_paid", job_id, fence, *arguments)
        verdict = BeginVerdict(reply[0])
        if verdict is BeginVerdict.COOLING:
            return PaymentIntent(verdict, wait=int(reply[1]) / 1000)
        return PaymentIntent(verdict, previous=reply[1] if verdict is BeginVerdict.OK else "")

    def slots_taken(self, account: str, now: int) -> int:
        """Count an account's messages in flight, without those of dead workers.

        Args:
            account: The account.
            now: The time, in ms of the ledger's clock.
        """
        slots = self._ledger.key("slots", account)
        return int(self._ledger.redis.zcount(slots, now, "+inf"))

    def record_accepted(self, job_id: str, call: str, progress: str) -> bool:
        """Record that the API accepted a message, and what the job's progress is now.

        Returns:
            False if the call is not one of the job's.
        """
        return self.record_facts(job_id, call, {"accepted": "1", "progress": progress})

    def record_facts(self, job_id: str, call: str, facts: Mapping[str, str]) -> bool:
        """Store results of a paid message, with or without a lease.

        Returns:
            False if the call is not one of the job's.
        """
        reply = self._ledger.scripts.run("paid_fact", job_id, call, *field_pairs(facts))
        return bool(reply != "UNKNOWN_CALL")

    def withdraw(self, job_id: str, call: str, why: str) -> bool:
        """Withdraw the intent to pay of a message that cannot have been charged.

        No lease is needed. A job that is held because of this message continues.

        Args:
            job_id: The job.
            call: The call of the intent.
            why: One of the closed list in ``withdraw_intent.lua``.
        """
        return bool(self._ledger.scripts.run("withdraw_intent", job_id, call, why) == "OK")

    def adopt(
        self,
        job_id: str,
        attempt: PaidAttempt,
        *,
        fence: str = "",
        earlier: Sequence[PaidAttempt] = (),
        replaces: str = "",
    ) -> AdoptVerdict:
        """Write a payment that the journal has into the record of its job.

        Args:
            job_id: The job.
            attempt: The payment.
            fence: The owner's fence, whose commit then moves the job. Without one, the job is moved
                to settling if no worker owns it.
            earlier: The payments of the turns before it. The record may have some of them.
            replaces: The call of the current turn that was never sent, or "".
        """
        value = {**attempt.as_argument(), "earlier": [each.as_argument() for each in earlier]}
        return AdoptVerdict(
            self._ledger.scripts.run("adopt", job_id, fence, replaces, json.dumps(value))
        )

    def restore_end(
        self, job_id: str, call: str, state: str, reason: str, facts: Mapping[str, str]
    ) -> AdoptVerdict:
        """Restore the end of a job from the journal, if no worker owns the job.

        Args:
            job_id: The job.
            call: The paid call of its current turn.
            state: The state in which it ended.
            reason: Why it failed, or "".
            facts: Fields to write.
        """
        pairs = field_pairs(facts)
        return AdoptVerdict(
            self._ledger.scripts.run("restore_end", job_id, call, state, reason, *pairs)
        )

    def record_balance(
        self, account: str, *, read_at: int, available: float, frozen: float, total: float
    ) -> None:
        """Record a balance whose reading began at ``read_at`` (ms, the server's clock)."""
        self._ledger.scripts.run("balance", account, read_at, available, frozen, total)

    def record_credits_refused(self, account: str, at: int) -> None:
        """Stop paying from an account that the API says is out of credits, until it has more.

        Args:
            account: The account.
            at: When the API said so, in ms of the ledger's clock. A balance whose reading began
                later is newer.
        """
        self._ledger.scripts.run("credits_refused", account, at)

    def record_rate_limited(self, account: str, seconds: float) -> None:
        """Pause an account for all workers after a 429, for some seconds."""
        self._ledger.scripts.run("rate_limited", account, int(seconds * 1000))

    def grow_window(self, account: str) -> None:
        """Widen an account's window if its last 429 was long enough ago. It may be called often."""
        self._ledger.scripts.run("grow_window", account)

    def store_bind_id(self, account: str, bind_id: str) -> None:
        """Store the id that binds an anonymous account to a registered one, if none is stored."""
        self._ledger.redis.hsetnx(self._ledger.key("account", account), "bind_id", bind_id)

    def record_plan_refused(self, account: str) -> None:
        """Stop paying from an account whose plan does not allow exports, until one succeeds."""
        redis, key = self._ledger.redis, self._ledger.key("account", account)
        now = self._ledger.now_ms()
        if redis.hsetnx(key, "plan_refused_at", now):
            # The values of an earlier refusal may be left.
            fields = {"plan_probe_at": now + PLAN_PROBE_MS, "plan_wait": PLAN_PROBE_MS}
            redis.hset(key, mapping=fields)

    def postpone_plan_probe(self, account: str) -> None:
        """Double the time until the next export is tried on an account whose plan refused one."""
        key = self._ledger.key("account", account)
        waited = int(self._ledger.redis.hget(key, "plan_wait") or PLAN_PROBE_MS)
        wait = min(2 * waited, MAX_PLAN_PROBE_MS)
        fields = {"plan_wait": wait, "plan_probe_at": self._ledger.now_ms() + wait}
        self._ledger.redis.hset(key, mapping=fields)

    def clear_plan_refused(self, account: str) -> None:
        """Pay from an account again: an export succeeded, or a person says that the plan allows it.

        The same transaction records that the held jobs are to be resumed, in case the worker dies.
        """
        redis, key = self._ledger.redis, self._ledger.key("account", account)
        if not redis.hexists(key, "plan_refused_at"):
            return
        with redis.pipeline() as pipe:
            pipe.hset(key, "plan_allowed_again", "1")
            pipe.hdel(key, "plan_refused_at", "plan_probe_at", "plan_wait")
            pipe.execute()

    def end_plan_release(self, account: str) -> None:
        """Record that all jobs that were held for an account's plan have been resumed."""
        self._ledger.redis.hdel(self._ledger.key("account", account), "plan_allowed_again")

    def expect_token_release(self, account: str) -> None:
        """Record that the jobs held for an account's token continue once its balance is read."""
        self._ledger.redis.hset(self._ledger.key("account", account), "token_release", "1")

    def end_token_release(self, account: str) -> None:
        """Record that all jobs that were held for an account's token have been resumed."""
        self._ledger.redis.hdel(self._ledger.key("account", account), "token_release")

    def record_token_refused(self, account: str, *, by: str) -> None:
        """Record that the API refused an account's token, to a ``job`` or a ``balance`` reading."""
        self._ledger.scripts.run("token_refused", account, by)
