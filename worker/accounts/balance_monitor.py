"""Reads the balances of the accounts, and resumes held jobs that can be paid again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

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
from worker.ledger.conditional_delete import delete_if_equal
from worker.ledger.ledger import Ledger
from worker.ledger.model.accounts import Account
from worker.ledger.model.states import Reason, State
from worker.ledger.model.verdicts import ReleaseVerdict
from worker.ledger.payments import Payments
from worker.nemo.errors import NemoError, RateLimited, TokenRefused

log = structlog.get_logger(__name__)

READ_LOCK_SECONDS: Final = 20
"""How long one worker may take to read a balance before another one tries."""
RELEASE_LIMIT: Final = 500
"""Maximum number of jobs that are resumed at a time."""
SPEEDUP_AFTER_JOB: Final = 12
"""How many times more often a balance is read after a job of the account has ended."""
TOKEN_REQUEST_SECONDS: Final = 3600
"""Interval of the requests for an anonymous token for held jobs: API limits last for days."""


@dataclass(frozen=True, slots=True)
class BalanceMonitor:
    """Reads balances, and resumes jobs that were held for lack of credits or of a valid token."""

    settings: Settings
    ledger: Ledger
    payments: Payments
    accounts: Accounts
    open_client: ClientFactory

    def read_balance(self, credential: Credential) -> bool:
        """Read and record one balance.

        Returns:
            False if another worker is reading it.

        Raises:
            NemoError: The API did not answer.
        """
        lock, nonce = self.ledger.key("balance_lock", credential.name), uuid4().hex
        if not self.ledger.redis.set(lock, nonce, nx=True, ex=READ_LOCK_SECONDS):
            return False
        try:
            read_at = self.ledger.now_ms()
            with self.open_client(credential.token) as client:
                balance = client.credits()
            self.payments.record_balance(
                credential.name,
                read_at=read_at,
                available=balance.available,
                frozen=balance.frozen,
                total=balance.total,
            )
        finally:
            delete_if_equal(self.ledger.redis, lock, nonce)
        return True

    def run_once(self) -> bool:
        """Read the balances that are due, and resume the held jobs that can continue.

        Returns:
            Whether there may be something to do again within a second.
        """
        held, now, is_busy = self.ledger.counts()[1], self.ledger.now_ms(), False
        may_release = bool(held.get(Reason.TOKEN))
        for name in self.accounts.names():
            account = self.ledger.account(name)
            if account.window_grows:
                self.payments.grow_window(name)
            self._log_rate_limit(account, now)
            has_ended = self.ledger.redis.zcard(self.ledger.key("ended", name)) > 0
            soon = has_ended or account.auth_refused_by == "job"
            if self._is_due(account, now, held, soon=soon):
                self._refresh(account)
                may_release = True
            may_release |= account.token_release_expected
            is_busy |= (
                soon or account.window_grows or account.limited_since > 0 or not account.is_read
            )
        if may_release:
            self._release_held_for_token()
        if held.get(Reason.PLAN):
            self._release_held_for_plan()
        if held.get(Reason.CREDITS):
            self._release_held_for_credits()
        waits = any(map(held.get, (Reason.TOKEN, Reason.PLAN, Reason.CREDITS)))
        return is_busy or may_release or waits

    def _log_rate_limit(self, account: Account, now: int) -> None:
        """Log once, for all workers, that 429s of an account began, and once that they are over."""
        redis, key = self.ledger.redis, self.ledger.key("account", account.name)
        if account.refusals or account.cooling_until > now:
            if redis.hsetnx(key, "limited_since", now):
                log.warning("account is rate limited (429)", account=account.name)
        elif since := account.limited_since:
            redis.hdel(key, "limited_since")
            seconds = (now - since) / 1000
            log.info("account is no longer rate limited", account=account.name, seconds=seconds)

    def _is_due(
        self, account: Account, now: int, held: Mapping[Reason, int], *, soon: bool
    ) -> bool:
        if not self._can_be_read_again(account):
            return self._needs_first_reading(account.name, held)
        age = (now - account.read_at) / 1000
        return age > self.settings.timing.balance_seconds / (SPEEDUP_AFTER_JOB if soon else 1)

    def _can_be_read_again(self, account: Account) -> bool:
        """Return whether the balance was read before and no token must be requested for it."""
        return account.is_read and self.accounts.has_token(account.name)

    def _needs_first_reading(self, name: str, held: Mapping[Reason, int]) -> bool:
        """Return whether held jobs wait for a reading; limits requests for an anonymous token."""
        if not held.get(Reason.CREDITS) and not held.get(Reason.TOKEN):
            return False
        return name != ANONYMOUS or bool(
            self.ledger.redis.set(
                self.ledger.key("ask_again"), "1", nx=True, ex=TOKEN_REQUEST_SECONDS
            )
        )

    def _refresh(self, account: Account) -> None:
        """Read one balance, and record if its success lets jobs held for the token continue."""
        name = account.name
        if account.auth_refused_by == "balance" or not self._can_be_read_again(account):
            # Recorded before the reading, which clears the refusal: the worker may die after it.
            self.payments.expect_token_release(name)
        try:
            self.read_balance(self.accounts.credential(account))
        except (AccountCoolingDownError, TokenPendingError):
            pass
        except TokenRefused as error:
            log.warning("token refused", account=name, error=str(error))
            self.payments.record_token_refused(name, by="balance")
        except RateLimited as error:
            wait = error.retry_after or self.settings.timing.rate_limit_seconds
            self.payments.record_rate_limited(name, wait)
        except NemoError as error:
            log.warning("balance could not be read", account=name, error=str(error))

    def _release_held_for_token(self) -> None:
        """Resume jobs whose account's token works again, and unpaid jobs of former accounts."""
        names = self.accounts.names()
        usable = [
            account for account in map(self.ledger.account, names) if self._is_usable(account)
        ]
        for account in usable:
            if account.token_release_expected:
                held = self.ledger.some_held_ids(Reason.TOKEN, account.name, RELEASE_LIMIT)
                self._release(held, "its token works again")
                if len(held) < RELEASE_LIMIT:
                    self.payments.end_token_release(account.name)
        if not usable or not self.ledger.held_count(Reason.TOKEN):
            return
        for name in self.ledger.holding_accounts(Reason.TOKEN) - set(names):
            held = self.ledger.some_held_ids(Reason.TOKEN, name, RELEASE_LIMIT)
            self._release(self._movable(held), "another account can take it")

    def _is_usable(self, account: Account) -> bool:
        """Return whether the account's token worked when its balance was last read."""
        return self._can_be_read_again(account) and not account.auth_refused_by

    def _release_held_for_plan(self) -> None:
        """Resume jobs whose account's plan allows exports again, or that another account can take.

        A job that was refused by another call than an export waits for a person.
        """
        accounts = map(self.ledger.account, self.accounts.names())
        others_can_take = any(map(self.accounts.can_take, accounts))
        for name in self.ledger.holding_accounts(Reason.PLAN):
            account = self.ledger.account(name)
            held = self.ledger.some_held_ids(Reason.PLAN, name, RELEASE_LIMIT)
            if account.plan_refused:
                if others_can_take:
                    self._release(self._movable(held), "another account can take it")
                if self.ledger.now_ms() >= account.plan_probe_at:
                    self._probe_plan(name, held)
            elif account.plan_allowed_again:
                self._release(held, "its plan allows exports")
                if len(held) < RELEASE_LIMIT:
                    self.payments.end_plan_release(name)

    def _probe_plan(self, name: str, held: list[str]) -> None:
        """Resume a job that has paid: its export is free, and shows if the plan allows it now."""
        probe = next((job.id for job in self.ledger.jobs(held) if job.fact("draft")), None)
        if probe is not None:
            self.payments.postpone_plan_probe(name)
            self._release([probe], "its export shows whether the plan allows it now")

    def _release_held_for_credits(self) -> None:
        """Resume as many jobs as the balances can pay for, less those that are about to pay."""
        price = self.settings.api.clip_cost
        names = self.accounts.names()
        affordable = {name: self.ledger.account(name).affordable_clips(price) for name in names}
        room = sum(affordable.values()) - self._count_about_to_pay(names)
        for name in names:
            most = max(0, min(room, affordable[name], RELEASE_LIMIT))
            held = self.ledger.some_held_ids(Reason.CREDITS, name, most)
            room -= self._release(held, "the balance has grown")
        able = {name for name in names if affordable[name]}
        for name in self.ledger.holding_accounts(Reason.CREDITS) - able:
            most = max(0, min(room, RELEASE_LIMIT))
            held = self._movable(self.ledger.some_held_ids(Reason.CREDITS, name, most))
            room -= self._release(held, "another account can pay")

    def _count_about_to_pay(self, names: Iterable[str]) -> int:
        """Count the jobs that will pay and have reserved no credits yet."""
        counts = self.ledger.counts()[0]
        now = self.ledger.now_ms()
        in_flight = sum(self.payments.slots_taken(name, now) for name in names)
        unpaid = max(0, counts.get(State.GENERATING, 0) - in_flight)
        return sum(self.ledger.flows().values()) + counts.get(State.PREPARING, 0) + unpaid

    def _movable(self, job_ids: list[str]) -> list[str]:
        """Return the jobs that are not bound to their account by a payment or a session."""
        return [job.id for job in self.ledger.jobs(job_ids) if not job.is_bound]

    def _release(self, job_ids: list[str], why: str) -> int:
        """Resume held jobs, and return how many were."""
        verdicts = [self.ledger.release(job_id, who=why) for job_id in job_ids]
        if verdicts:
            log.info("held jobs resumed", jobs=len(verdicts), why=why)
        return verdicts.count(ReleaseVerdict.OK)
