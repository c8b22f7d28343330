"""Who pays: tokens, balances, and what is reserved by running work."""

import itertools
import secrets
from dataclasses import dataclass, field

from sandbox.clock import Clock
from sandbox.options import Options


@dataclass(slots=True, kw_only=True)
class Account:
    """A balance. `total` still holds what is frozen; a charge takes it from both.

    Attributes:
        name: Its name in the ledger.
        total: Credits left, frozen ones included.
        frozen: Credits reserved by running work.
        spent: Credits charged so far.
        may_render: Whether its token has the scope to export.
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
        """Set a price aside; False when there is not enough."""
        if self.available < price:
            return False
        self.frozen += price
        return True

    def charge(self, price: int) -> None:
        """Take a reserved price."""
        self.frozen -= price
        self.total -= price
        self.spent += price

    def release(self, price: int) -> None:
        """Free a reserved price without taking it."""
        self.frozen -= price


@dataclass(slots=True)
class TokenRecord:
    """A token's standing: whose it is and until when (Unix seconds)."""

    account: Account
    expires_at: float
    client_id: str | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True)
class NewToken:
    """A new anonymous token."""

    token: str = field(repr=False)
    account: Account
    seconds: float


class Accounts:
    """Every account and the tokens that open it."""

    def __init__(self, options: Options, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._tokens: dict[str, TokenRecord] = {}
        self._clients: dict[str, Account] = {}
        self.by_name: dict[str, Account] = {}
        self._numbers = itertools.count(1)
        self.issued = 0
        for number, grant in enumerate(options.accounts, start=1):
            account = self._open(f"account-{number}", grant.credits, may_render=True)
            self._tokens[grant.token.get_secret_value()] = TokenRecord(account, float("inf"))

    def find(self, token: str) -> Account | None:
        """The account that a token opens; None for an unknown or expired one."""
        held = self._tokens.get(token)
        if held is None or held.expires_at <= self._clock.now():
            return None
        return held.account

    def issue(self, client_id: str, address: str) -> NewToken | None:
        """Make an anonymous token.

        Args:
            client_id: The caller's `X-Client-Id`.
            address: The caller's address.

        Returns:
            The token, or None when the client or the address has had its share.
        """
        now = self._clock.now()
        living = [held for held in self._tokens.values() if held.client_id]
        living = [held for held in living if held.expires_at > now]
        crowded = sum(held.address == address for held in living)
        if crowded >= self._options.tokens_per_address:
            return None
        if any(held.client_id == client_id for held in living):
            return None
        account = self._clients.get(client_id) if self._options.keep_account else None
        if account is None:
            account = self._open(
                f"anonymous-{next(self._numbers)}",
                self._options.anonymous_credits,
                may_render=self._options.anonymous_may_render,
            )
            self._clients[client_id] = account
        self.issued += 1
        token = f"nmv_usr_{secrets.token_hex(16)}"
        seconds = self._options.token_seconds
        self._tokens[token] = TokenRecord(account, now + seconds, client_id, address)
        return NewToken(token, account, seconds)

    def add_token(self, name: str, token: str) -> None:
        """Let one more registered token open an account, as if its owner had made one."""
        self._tokens[token] = TokenRecord(self.by_name[name], float("inf"))

    def expire(self, name: str) -> int:
        """End every token of an account now, and return how many."""
        now = self._clock.now()
        ending = [
            held
            for held in self._tokens.values()
            if held.account.name == name and held.expires_at > now
        ]
        for held in ending:
            held.expires_at = now
        return len(ending)

    def revive(self, name: str) -> int:
        """Make an account's registered tokens valid again, and return how many."""
        found = [
            held
            for held in self._tokens.values()
            if held.account.name == name and held.client_id is None
        ]
        for held in found:
            held.expires_at = float("inf")
        return len(found)

    def _open(self, name: str, credit: int, *, may_render: bool) -> Account:
        account = Account(name=name, total=credit, may_render=may_render)
        self.by_name[name] = account
        return account
