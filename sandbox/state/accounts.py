"""Accounts: their tokens, balances, and the credits that running work has reserved."""

import itertools
import secrets
from dataclasses import dataclass

from sandbox.clock import Clock
from sandbox.options import Options

_NEVER = float("inf")


@dataclass(slots=True, kw_only=True)
class Account:
    """An account with its balance.

    Attributes:
        name: Its name in the ledger.
        total: Credits left, frozen ones included.
        may_render: Whether its tokens have the scope to export.
        frozen: Credits reserved by running work.
        spent: Credits charged.
        unattributed: Whether any call came without an attribution header.
    """

    name: str
    total: int
    may_render: bool
    frozen: int = 0
    spent: int = 0
    unattributed: bool = False

    @property
    def available(self) -> int:
        """Credits that new work may reserve."""
        return self.total - self.frozen

    def reserve(self, price: int) -> bool:
        """Reserve a price; return False if there are not enough credits."""
        if self.available < price:
            return False
        self.frozen += price
        return True

    def charge(self, price: int) -> None:
        """Charge a reserved price."""
        self.release(price)
        self.total -= price
        self.spent += price

    def release(self, price: int) -> None:
        """Release a reserved price without charging it."""
        self.frozen -= price


@dataclass(slots=True)
class TokenRecord:
    """A token's account and expiry time (Unix seconds).

    Only an anonymous token has the client id and the address that it was issued to.
    """

    account: Account
    expires_at: float = _NEVER
    client_id: str | None = None
    address: str | None = None


class Accounts:
    """All accounts and their tokens."""

    def __init__(self, options: Options, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._tokens: dict[str, TokenRecord] = {}
        self._clients: dict[str, Account] = {}
        self.by_name: dict[str, Account] = {}
        self._numbers = itertools.count(1)
        self.issued = 0
        for number, given in enumerate(options.accounts, start=1):
            name = f"account-{number}"
            self._open(name, given.credits, may_render=True)
            self.add_token(name, given.token.get_secret_value())

    def find(self, token: str) -> Account | None:
        """Return a token's account; None if the token is unknown or expired."""
        record = self._tokens.get(token)
        if record is None or record.expires_at <= self._clock.now():
            return None
        return record.account

    def issue(self, client_id: str, address: str) -> tuple[str, Account] | None:
        """Issue an anonymous token.

        Args:
            client_id: The caller's `X-Client-Id`.
            address: The caller's address.

        Returns:
            The token and its account; None if the client or the address has reached its limit.
        """
        options, now = self._options, self._clock.now()
        valid = [
            record
            for record in self._tokens.values()
            if record.client_id is not None and record.expires_at > now
        ]
        if sum(record.address == address for record in valid) >= options.tokens_per_address:
            return None
        if any(record.client_id == client_id for record in valid):
            return None
        account = self._clients.get(client_id) if options.keep_account else None
        if account is None:
            account = self._open(
                f"anonymous-{next(self._numbers)}",
                options.anonymous_credits,
                may_render=options.anonymous_may_render,
            )
            self._clients[client_id] = account
        self.issued += 1
        token = f"nmv_usr_{secrets.token_hex(16)}"
        expires_at = now + options.token_seconds
        self._tokens[token] = TokenRecord(account, expires_at, client_id, address)
        return token, account

    def add_token(self, name: str, token: str) -> None:
        """Add a registered token to an account."""
        self._tokens[token] = TokenRecord(self.by_name[name])

    def expire(self, name: str) -> int:
        """Expire all valid tokens of an account; return how many there were."""
        now = self._clock.now()
        valid = [record for record in self._tokens_of(name) if record.expires_at > now]
        for record in valid:
            record.expires_at = now
        return len(valid)

    def revive(self, name: str) -> int:
        """Make an account's registered tokens valid again; return how many there are."""
        registered = [record for record in self._tokens_of(name) if record.client_id is None]
        for record in registered:
            record.expires_at = _NEVER
        return len(registered)

    def _tokens_of(self, name: str) -> list[TokenRecord]:
        return [record for record in self._tokens.values() if record.account.name == name]

    def _open(self, name: str, credit: int, *, may_render: bool) -> Account:
        account = Account(name=name, total=credit, may_render=may_render)
        self.by_name[name] = account
        return account
