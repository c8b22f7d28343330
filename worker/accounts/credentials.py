"""The accounts that pay: registered tokens, or one anonymous token that all workers share.

The anonymous token is stored in one Redis key and nowhere else. It is always requested with the
same client ID, because another ID would evade the API's limits.
"""

import hashlib
import json
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from pydantic import SecretStr

from config.settings import Settings
from worker.ledger.conditional_delete import delete_if_equal
from worker.ledger.ledger import Ledger
from worker.ledger.model.accounts import Account
from worker.nemo.client import NemoClient
from worker.nemo.errors import Call, SessionNotFound, TokenRefused

ANONYMOUS: Final = "anonymous"
RECENT_SECONDS: Final = 0.5
"""How long a process uses its last reading of an account to see whether it is cooling down."""


class TokenPendingError(Exception):
    """Another worker is requesting the anonymous token."""


class AccountCoolingDownError(Exception):
    """The account may not be used yet, by any worker, after a 429 response.

    Attributes:
        wait: Seconds until it may be used again.
    """

    def __init__(self, wait: float) -> None:
        super().__init__(f"the account is cooling down for {wait:.1f} s")
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Credential:
    """An account and its token."""

    name: str
    token: SecretStr
    anonymous: bool

    @property
    def token_id(self) -> str:
        """A fingerprint of the token, which may be recorded."""
        return _digest(self.token)


ClientFactory = Callable[[SecretStr | None], AbstractContextManager[NemoClient]]


class Accounts:
    """Chooses accounts for jobs, and keeps the anonymous token."""

    def __init__(self, settings: Settings, ledger: Ledger, open_client: ClientFactory) -> None:
        self._settings = settings
        self._ledger = ledger
        self._open_client = open_client
        self._registered = {
            name: Credential(name, token, anonymous=False)
            for name, token in account_tokens(settings).items()
        }
        self._recent: dict[str, tuple[float, Account]] = {}

    def names(self) -> list[str]:
        """Return the names of the configured accounts."""
        return list(self._registered) or [ANONYMOUS]

    def recent(self, name: str) -> Account:
        """Return an account as this process has read it within the last `RECENT_SECONDS`.

        That is new enough to see whether it is cooling down, which many steps a second do.
        """
        read_at, account = self._recent.get(name, (float("-inf"), None))
        now = time.monotonic()
        if account is None or now - read_at > RECENT_SECONDS:
            account = self._ledger.account(name)
            self._recent[name] = now, account
        return account

    def forget_recent(self, name: str) -> None:
        """Discard the last reading of an account, because this process has changed the account."""
        self._recent.pop(name, None)

    def choose(self, current: str | None = None) -> Account:
        """Choose the account of a job that has not paid.

        The choice is random among the accounts that can take a job, weighted by their windows. If
        none can, it is the account with the most credits, on which the job is then held.

        Args:
            current: The job's account so far. It is kept if it can take the job, or if none can.
        """
        accounts = {name: self._ledger.account(name) for name in self.names()}
        able = [account for account in accounts.values() if self.can_take(account)]
        if current in accounts and (not able or accounts[current] in able):
            return accounts[current]
        if not able:
            return max(accounts.values(), key=lambda account: account.headroom)
        weights = [account.window for account in able]
        return random.choices(able, weights)[0]  # noqa: S311 - not used for security

    def others_can_take(self, name: str) -> bool:
        """Return whether another account than this one can take a job that has not paid."""
        others = (self._ledger.account(other) for other in self.names() if other != name)
        return any(self.can_take(account) for account in others)

    def credential(self, account: Account) -> Credential:
        """Return the credential of an account whose record was just read.

        Raises:
            AccountCoolingDownError: The account is cooling down after a 429 response.
            TokenRefused: The account is no longer configured; nothing was sent.
            TokenPendingError: Another worker is requesting the anonymous token; try again soon.
            NemoError: The API gave no anonymous token.
        """
        name = account.name
        self._check_cooling(account)
        if name in self._registered:
            return self._registered[name]
        if name == ANONYMOUS:
            return self._anonymous()
        raise TokenRefused(Call.TOKEN, f"the token of {name} is no longer in NEMO_TOKEN")

    def known_credential(self, name: str) -> Credential | None:
        """Return the credential of an account; None if it is unknown or must be requested first.

        Raises:
            AccountCoolingDownError: The account is cooling down after a 429 response.
        """
        known = self._registered.get(name)
        if known is None and name == ANONYMOUS and self.uses_anonymous_token:
            known = self._stored()
        if known is not None:
            self._check_cooling(self._ledger.account(name))
        return known

    def _check_cooling(self, account: Account) -> None:
        """Check that an account is not cooling down.

        Raises:
            AccountCoolingDownError: It is.
        """
        if account.cooling_until:
            wait = (account.cooling_until - self._ledger.now_ms()) / 1000
            if wait > 0:
                raise AccountCoolingDownError(wait)

    def session_owner(self, session_id: str) -> Credential | None:
        """Return the credential that can open a session; None if none can.

        The account may be configured with another token than the one that opened it, and so under
        another name.

        Raises:
            NemoError: The API did not answer whether it can.
        """
        for name in self.names():
            credential = self.credential(self._ledger.account(name))
            try:
                with self._open_client(credential.token) as client:
                    client.state(session_id)
            except (SessionNotFound, TokenRefused):
                continue
            return credential
        return None

    def has_token(self, name: str) -> bool:
        """Return whether an account has a token, so that none must be requested."""
        return name in self._registered or self._stored() is not None

    @property
    def uses_anonymous_token(self) -> bool:
        """Whether no token is configured, so that the workers request one themselves."""
        return not self._registered

    def discard_anonymous_token(self, token_id: str) -> None:
        """Delete the anonymous token if it is the given one, which was refused."""
        redis, key = self._ledger.redis, self._ledger.key("token")
        text = redis.get(key)
        if text and _anonymous_credential(text).token_id == token_id:
            delete_if_equal(redis, key, text)

    def can_take(self, account: Account) -> bool:
        """Return whether an account can take a job that has not paid."""
        if account.auth_refused_by or account.plan_refused:
            return False
        if account.cooling_until and account.cooling_until > self._ledger.now_ms():
            return False
        return not account.is_read or account.affordable_clips(self._settings.api.clip_cost) > 0

    def _stored(self) -> Credential | None:
        text = self._ledger.redis.get(self._ledger.key("token"))
        return _anonymous_credential(text) if text else None

    def _anonymous(self) -> Credential:
        if stored := self._stored():
            return stored
        redis, lock, nonce = self._ledger.redis, self._ledger.key("token_lock"), uuid4().hex
        # The lock expires with a lease, so that a worker that died does not block the others.
        if not redis.set(lock, nonce, nx=True, px=self._ledger.lease_ms):
            raise TokenPendingError
        try:
            return self._stored() or self._request_token()
        finally:
            delete_if_equal(redis, lock, nonce)

    def _request_token(self) -> Credential:
        with self._open_client(None) as client:
            grant = client.anonymous_token(self._client_id())
        # Stored until it expires: until then the API gives no second one for this client ID.
        lifetime_ms = int(grant.expires_in * 1000) if grant.expires_in else None
        value = json.dumps({"token": grant.token.get_secret_value(), "at": self._ledger.now_ms()})
        self._ledger.redis.set(self._ledger.key("token"), value, px=lifetime_ms)
        return Credential(ANONYMOUS, grant.token, anonymous=True)

    def _client_id(self) -> str:
        if self._settings.api.client_id:
            return self._settings.api.client_id
        key = self._ledger.key("client_id")
        self._ledger.redis.set(key, str(uuid4()), nx=True)
        return str(self._ledger.redis.get(key))


def _anonymous_credential(text: str) -> Credential:
    return Credential(ANONYMOUS, SecretStr(json.loads(text)["token"]), anonymous=True)


def account_tokens(settings: Settings) -> dict[str, SecretStr]:
    """Return the configured tokens by the names of their accounts."""
    return {f"account-{_digest(token)}": token for token in settings.api.tokens}


def _digest(token: SecretStr) -> str:
    return hashlib.sha256(token.get_secret_value().encode()).hexdigest()[:12]
