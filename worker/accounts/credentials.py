"""The accounts that pay: registered tokens, or one anonymous token for the whole fleet.

The anonymous token lives in one Redis key of its own and nowhere else. It is always asked for
with the same client id: another id would dodge the provider's limits.
"""

import hashlib
import json
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from pydantic import SecretStr

from config.settings import Settings
from worker.ledger.ledger import Ledger
from worker.ledger.model.accounts import Account
from worker.nemo.client import NemoClient
from worker.nemo.errors import Call, SessionNotFound, TokenRefused

ANONYMOUS: Final = "anonymous"
RENEW_EARLY_MS: Final = 3_600_000
"""An hour: no job should meet the token's end in its middle."""


class TokenPendingError(Exception):
    """Another worker is asking for the fleet's token at this moment."""


class AccountCoolingDownError(Exception):
    """The account rests after a 429, for everyone.

    Attributes:
        wait: Seconds until it may be used again.
    """

    def __init__(self, wait: float) -> None:
        super().__init__(f"the account rests for {wait:.1f} s")
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Credential:
    """An account and its token. ``token_id`` tells two tokens apart without showing them."""

    name: str
    token: SecretStr
    anonymous: bool

    @property
    def token_id(self) -> str:
        """A fingerprint of the token, for records."""
        return _digest(self.token)


ClientFactory = Callable[[SecretStr | None], AbstractContextManager[NemoClient]]


class Accounts:
    """Chooses an account for a job, and keeps the anonymous token alive."""

    def __init__(self, settings: Settings, ledger: Ledger, open_client: ClientFactory) -> None:
        """Open nothing yet."""
        self._settings = settings
        self._ledger = ledger
        self._open_client = open_client
        self._registered = {
            f"account-{_digest(token)}": Credential(f"account-{_digest(token)}", token, False)
            for token in settings.api.tokens
        }

    def names(self) -> list[str]:
        """The accounts that this configuration can use."""
        return list(self._registered) or [ANONYMOUS]

    def choose(self, present: str | None = None) -> str:
        """The account for a job that has not paid yet.

        Work spreads by chance over the accounts that can take it, by the room they have. Where
        none can, it is the one with the most money, so that the job is held on that.

        Args:
            present: The account that the job has; it stays there while that one can take it.
        """
        known = {name: self._ledger.account(name) for name in self.names()}
        able = [account for account in known.values() if self._can_take(account)]
        if present in known and (not able or known[present] in able):
            return present
        if not able:
            return max(known.values(), key=lambda account: account.headroom).name
        weights = [account.window for account in able]
        return random.choices(able, weights)[0].name  # noqa: S311 - no secret hangs on it

    def others_can_take(self, name: str) -> bool:
        """Whether a job that has not paid could go to an account other than this one."""
        others = (self._ledger.account(other) for other in self.names() if other != name)
        return any(self._can_take(account) for account in others)

    def credential(self, name: str) -> Credential:
        """The credential of an account.

        Raises:
            AccountCoolingDownError: It rests after a 429.
            TokenRefused: The account is configured no more; nothing was sent.
            TokenPendingError: Another worker is asking for the token; come back soon.
            NemoError: The API gives no anonymous token.
        """
        rest = (self._ledger.account(name).cooling_until - self._ledger.now_ms()) / 1000
        if rest > 0:
            raise AccountCoolingDownError(rest)
        if name in self._registered:
            return self._registered[name]
        if name == ANONYMOUS:
            return self._anonymous()
        raise TokenRefused(Call.TOKEN, f"the token of {name} is no longer in NEMO_TOKEN")

    def session_owner(self, session_id: str) -> Credential | None:
        """The credential under which a session is found: a token may have been replaced.

        Raises:
            NemoError: The API does not tell.
        """
        for name in self.names():
            credential = self.credential(name)
            try:
                with self._open_client(credential.token) as client:
                    client.state(session_id)
            except (SessionNotFound, TokenRefused):
                continue
            return credential
        return None

    def has_token(self, name: str) -> bool:
        """Whether an account's token is at hand, so that none must be asked for."""
        return name in self._registered or self._stored() is not None

    @property
    def uses_anonymous_token(self) -> bool:
        """Whether there is only the anonymous account, whose token we may renew ourselves."""
        return not self._registered

    def discard_anonymous_token(self, token_id: str) -> None:
        """Forget the anonymous token if it is the one that was refused; asks for no new one."""
        stored = self._stored()
        if stored is not None and stored.token_id == token_id:
            self._ledger.redis.delete(self._ledger.key("token"))

    def _can_take(self, account: Account) -> bool:
        if account.auth_refused_by or account.cooling_until > self._ledger.now_ms():
            return False
        return not account.is_read or account.affordable_clips(self._settings.api.clip_cost) > 0

    def _stored(self) -> Credential | None:
        text = self._ledger.redis.get(self._ledger.key("token"))
        return Credential(ANONYMOUS, SecretStr(json.loads(text)["token"]), True) if text else None

    def _anonymous(self) -> Credential:
        stored = self._stored()
        if stored is not None:
            return stored
        redis, lock = self._ledger.redis, self._ledger.key("token_lock")
        mine = uuid4().hex
        # A lease: a worker that died while it asked keeps nobody longer than its jobs.
        if not redis.set(lock, mine, nx=True, px=self._ledger.lease_ms):
            raise TokenPendingError
        try:
            return self._stored() or self._ask()
        finally:
            if redis.get(lock) == mine:
                redis.delete(lock)

    def _ask(self) -> Credential:
        with self._open_client(None) as client:
            grant = client.anonymous_token(self._client_id())
        credential = Credential(ANONYMOUS, grant.token, True)
        lives_ms = None
        if grant.expires_in:
            lives_ms = max(1000, int(grant.expires_in * 1000) - RENEW_EARLY_MS)
            if grant.expires_in * 1000 <= 2 * RENEW_EARLY_MS:
                lives_ms = int(grant.expires_in * 1000)
        value = json.dumps({"token": grant.token.get_secret_value(), "at": self._ledger.now_ms()})
        self._ledger.redis.set(self._ledger.key("token"), value, px=lives_ms)
        return credential

    def _client_id(self) -> str:
        if self._settings.api.client_id:
            return self._settings.api.client_id
        key = self._ledger.key("client_id")
        self._ledger.redis.set(key, str(uuid4()), nx=True)
        return str(self._ledger.redis.get(key))


def _digest(token: SecretStr) -> str:
    return hashlib.sha256(token.get_secret_value().encode()).hexdigest()[:12]
