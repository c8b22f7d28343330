"""Payments: a paid message is sent only after its intent has been written to disk.

Source: the agenda protocol, "begin_paid" and "Durability of the intent".
"""

from dataclasses import dataclass

from worker.ledger.ledger import LEASE_MARGIN_MS, Ledger
from worker.ledger.model.verdicts import BeginVerdict


@dataclass(frozen=True, slots=True)
class PaymentIntent:
    """The answer to an intent to pay. Only ``OK`` allows the message to be sent."""

    verdict: BeginVerdict
    wait: float = 0.0  # seconds until the account's pause after a 429 ends


class Payments:
    """Writes and releases the intents of paid messages, and what is known of their accounts."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def begin(
        self, job_id: str, fence: int, *, turn: int, call: str, cost: float, cap: int
    ) -> PaymentIntent:
        """Write the intent to pay.

        It is on disk when the reply arrives: a worker pays only where Redis flushes each write to
        disk before it replies (see `worker.runtime.durability`).
        """
        scripts = self._ledger.scripts
        slot_ms = self._ledger.lease_ms + LEASE_MARGIN_MS
        reply = scripts.run("begin_paid", job_id, fence, turn, call, cost, slot_ms, cap)
        verdict = BeginVerdict(reply[0])
        if verdict is BeginVerdict.COOLING:
            return PaymentIntent(verdict, wait=int(reply[1]) / 1000)
        return PaymentIntent(verdict)

    def slots_taken(self, account: str) -> int:
        """Count an account's messages in flight, without those of dead workers."""
        slots = self._ledger.key("slots", account)
        return int(self._ledger.redis.zcount(slots, self._ledger.now_ms(), "+inf"))

    def has_free_slot(self, account: str, cap: int) -> bool:
        """Whether an account seems to have a slot for one more message; ``begin`` decides."""
        return self.slots_taken(account) < min(cap, int(self._ledger.account(account).window))

    def record_fact(self, job_id: str, call: str, name: str, value: str) -> bool:
        """Store a result of a paid message, with or without a lease.

        Returns:
            False if the call is not one of the job's.
        """
        reply = self._ledger.scripts.run("paid_fact", job_id, call, name, value)
        return bool(reply != "UNKNOWN_CALL")

    def release(self, job_id: str, fence: int, call: str, why: str) -> bool:
        """Release the intent of a message that cannot have been charged.

        Args:
            job_id: The job.
            fence: The owner's fence.
            call: The call to release.
            why: A reason of the closed list in ``release_paid.lua``.

        Returns:
            False if the lease is lost, or the call is not the current turn's.
        """
        return bool(self._ledger.scripts.run("release_paid", job_id, fence, call, why) == "OK")

    def record_balance(
        self, account: str, *, read_at: int, available: float, frozen: float, total: float
    ) -> None:
        """Record a balance whose reading began at ``read_at`` (ms, the server's clock)."""
        self._ledger.scripts.run("balance", account, read_at, available, frozen, total)

    def record_credits_refused(self, account: str) -> None:
        """Stop paying from an account that the API says is out of credits, until it has more."""
        self._ledger.scripts.run("credits_refused", account)

    def record_rate_limited(self, account: str, seconds: float) -> None:
        """Pause an account for all workers after a 429, for some seconds."""
        self._ledger.scripts.run("rate_limited", account, int(seconds * 1000))

    def record_token_refused(self, account: str, *, by: str) -> None:
        """Record that the API refused an account's token, to a ``job`` or a ``balance`` reading."""
        self._ledger.scripts.run("token_refused", account, by)
