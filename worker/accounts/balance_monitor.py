"""The balances: read by one worker for all, and what follows from a reading."""

from collections.abc import Iterable
from typing import Final

import structlog

from config.settings import Settings
from worker.accounts.credentials import (
    ANONYMOUS,
    AccountCoolingDownError,
    Accounts,
    ClientFactory,
    Credential,
    TokenPendingError,
)
from worker.ledger.ledger import Ledger
from worker.ledger.model.accounts import Account
from worker.ledger.model.states import Reason, State
from worker.ledger.model.verdicts import ReleaseVerdict
from worker.ledger.payments import Payments
from worker.nemo.errors import NemoError, RateLimited, TokenRefused

log = structlog.get_logger(__name__)

READING_SECONDS: Final = 20
"""How long one worker may take to read a balance before another tries."""
RELEASED_AT_ONCE: Final = 500
AFTER_A_JOB: Final = 12
"""After a job's end the balance is read this many times sooner than by the clock."""
ASK_AGAIN_SECONDS: Final = 3600
"""Between two tries to get an anonymous token that was denied: the limits last for days."""


class BalanceMonitor:
    """Reads balances, and lets held jobs go on when there is money, or a token, again."""

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

    def read_balance(self, credential: Credential) -> bool:
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
            self._payments.record_balance(
                credential.name,
                read_at=read_at,
                available=balance.available,
                frozen=balance.frozen,
                total=balance.total,
            )
        finally:
            self._ledger.redis.delete(lock)
        return True

    def run_once(self) -> None:
        """Read the balances that are due, and release what can go on."""
        for name in self._accounts.names():
            if self._is_due(name):
                self._visit(name)
        self._release_for_tokens()
        self._release_for_credits()

    def _visit(self, name: str) -> None:
        """Read one balance; a token that is found at work again lets its jobs go on."""
        account = self._ledger.account(name)
        restored = account.auth_refused_by == "balance" or not self._has_standing(account)
        try:
            if not self.read_balance(self._accounts.credential(name)):
                return
        except (AccountCoolingDownError, TokenPendingError):
            return
        except TokenRefused as error:
            log.warning("a token is refused", account=name, error=str(error))
            self._payments.record_token_refused(name, by="balance")
            return
        except RateLimited as error:
            rest = error.retry_after or self._settings.timing.rate_limit_seconds
            self._payments.record_rate_limited(name, rest)
            return
        except NemoError as error:
            log.warning("balance could not be read", account=name, error=str(error))
            return
        if restored:
            self._release(self._ledger.held_ids(Reason.TOKEN, name), "its token works again")

    def _has_standing(self, account: Account) -> bool:
        """Whether its balance was read before, and there is a token to read it with again."""
        return account.is_read and self._accounts.has_token(account.name)

    def _is_due(self, name: str) -> bool:
        account = self._ledger.account(name)
        if not self._has_standing(account):
            return self._is_wanted(name)
        age = (self._ledger.now_ms() - account.read_at) / 1000
        soon = account.auth_refused_by == "job" or (
            self._ledger.redis.zcard(self._ledger.key("ended", name)) > 0
        )
        return age > self._settings.timing.balance_seconds / (AFTER_A_JOB if soon else 1)

    def _is_wanted(self, name: str) -> bool:
        """Whether held jobs wait for a first reading; an anonymous token is asked for rarely."""
        held = self._ledger.counts()[1]
        if not held.get(Reason.CREDITS) and not held.get(Reason.TOKEN):
            return False
        ask_again = self._ledger.key("ask_again")
        return name != ANONYMOUS or bool(
            self._ledger.redis.set(ask_again, "1", nx=True, ex=ASK_AGAIN_SECONDS)
        )

    def _release_for_tokens(self) -> None:
        """Jobs that have not paid and whose account is gone go to one whose token works."""
        if not self._ledger.held_count(Reason.TOKEN):
            return
        names = self._accounts.names()
        if not any(self._works(name) for name in names):
            return
        for account in self._ledger.holding_accounts(Reason.TOKEN) - set(names):
            held = self._ledger.held_ids(Reason.TOKEN, account)
            self._release(self._unbound(held), "another account can take it")

    def _works(self, name: str) -> bool:
        account = self._ledger.account(name)
        return account.is_read and not account.auth_refused_by

    def _release_for_credits(self) -> None:
        """As many as can be paid, those that are on their way to the payment counted in."""
        if not self._ledger.held_count(Reason.CREDITS):
            return
        price = self._settings.api.clip_cost
        names = self._accounts.names()
        affordable = {name: self._ledger.account(name).affordable_clips(price) for name in names}
        room = sum(affordable.values()) - self._on_their_way(names)
        for name in names:
            held = self._ledger.held_ids(Reason.CREDITS, name)[
                : max(0, min(room, affordable[name]))
            ]
            room -= self._release(held, "the balance has grown")
        for name in self._ledger.holding_accounts(Reason.CREDITS) - {
            name for name in names if affordable[name]
        }:
            held = self._unbound(self._ledger.held_ids(Reason.CREDITS, name))
            room -= self._release(held[: max(0, room)], "another account can pay")

    def _on_their_way(self, names: Iterable[str]) -> int:
        """Jobs that will pay and have reserved nothing yet."""
        counts = self._ledger.counts()[0]
        in_flight = sum(self._payments.slots_taken(name) for name in names)
        unpaid = max(0, counts.get(State.GENERATING, 0) - in_flight)
        waiting = sum(self._ledger.flows().values())
        return waiting + counts.get(State.PREPARING, 0) + unpaid

    def _unbound(self, job_ids: list[str]) -> list[str]:
        """Those whose money lies in no session: they may go to any account."""
        jobs = self._ledger.jobs(job_ids[:RELEASED_AT_ONCE])
        return [job.id for job in jobs if not job.is_bound]

    def _release(self, job_ids: list[str], why: str) -> int:
        """Let jobs go on; how many did."""
        verdicts = [self._ledger.release(job_id, who=why) for job_id in job_ids[:RELEASED_AT_ONCE]]
        if verdicts:
            log.info("held jobs go on", jobs=len(verdicts), why=why)
        return verdicts.count(ReleaseVerdict.OK)
