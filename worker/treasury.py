"""The balances: read by one worker for all, and what follows from a reading."""

from typing import Final

import structlog

from config.settings import Settings
from worker.accounts import Accounts, ClientFactory, Credential, TokenPendingError
from worker.ledger.ledger import Ledger
from worker.ledger.payments import Payments
from worker.ledger.states import Reason
from worker.nemo.errors import NemoError

log = structlog.get_logger(__name__)

READING_SECONDS: Final = 20
"""How long one worker may take to read a balance before another tries."""
RELEASED_AT_ONCE: Final = 500
AFTER_A_JOB: Final = 12
"""After a job's end the balance is read this many times sooner than by the clock."""


class Treasury:
    """Reads balances, and lets held jobs go on when there is money again."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        payments: Payments,
        accounts: Accounts,
        open_client: ClientFactory,
    ) -> None:
        """Open nothing yet."""
        self._settings = settings
        self._ledger = ledger
        self._payments = payments
        self._accounts = accounts
        self._open_client = open_client
        self._released_at: dict[str, int] = {}

    def read(self, credential: Credential) -> bool:
        """Read one balance, unless another worker is at it. True: it was read.

        Raises:
            NemoError: The API did not tell.
        """
        lock = self._ledger.key("balance_lock", credential.name)
        if not self._ledger.redis.set(lock, "1", nx=True, ex=READING_SECONDS):
            return False
        try:
            read_at = self._ledger.now_ms()
            with self._open_client(credential.token) as client:
                balance = client.credits()
            self._payments.read_balance(
                credential.name,
                read_at=read_at,
                available=balance.available,
                frozen=balance.frozen,
                total=balance.total,
            )
        finally:
            self._ledger.redis.delete(lock)
        return True

    def round(self) -> None:
        """Read the balances that are due, and release what can be paid again."""
        for name in self._accounts.names():
            if self._is_due(name):
                try:
                    self.read(self._accounts.of(name))
                except (NemoError, TokenPendingError) as error:
                    log.warning("balance could not be read", account=name, error=str(error))
                    continue
            self._release(name)
        self._move_on()

    def _move_on(self) -> None:
        """Jobs that waited for an account that is configured no more may try another."""
        known = self._accounts.names()
        for name in self._ledger.holding_accounts(Reason.CREDITS):
            if name not in known:
                for job_id in self._ledger.held_ids(Reason.CREDITS, name)[:RELEASED_AT_ONCE]:
                    self._ledger.release(job_id, who="its account is configured no more")

    def _is_due(self, name: str) -> bool:
        account = self._ledger.account(name)
        if account is None:
            # An anonymous token is asked for when there is work, not because a worker started.
            return bool(self._ledger.held_ids(Reason.CREDITS, name))
        age = (self._ledger.now_ms() - account.read_at) / 1000
        ended = self._ledger.redis.zcard(self._ledger.key("ended", name))
        return age > self._settings.balance_seconds or (
            ended > 0 and age > self._settings.balance_seconds / AFTER_A_JOB
        )

    def _release(self, name: str) -> None:
        """Once a reading: what is released has not reserved yet, and would be counted twice."""
        account = self._ledger.account(name)
        if account is None or self._released_at.get(name) == account.read_at:
            return
        self._released_at[name] = account.read_at
        if not account.can_pay(self._settings.clip_cost):
            return
        affordable = int(account.headroom // self._settings.clip_cost)
        held = self._ledger.held_ids(Reason.CREDITS, name)
        for job_id in held[: min(affordable, RELEASED_AT_ONCE)]:
            self._ledger.release(job_id, who="the balance has grown")
