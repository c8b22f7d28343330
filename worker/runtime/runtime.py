"""The parts of one worker process, built once from the settings."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

from pydantic import SecretStr

from config.settings import Settings, get_settings
from worker.accounts.balance_monitor import BalanceMonitor
from worker.accounts.credentials import Accounts
from worker.ledger.connection import connect
from worker.ledger.ledger import Ledger
from worker.ledger.payments import Payments
from worker.media import MAX_IMAGE_MEMORY
from worker.nemo.client import NemoClient
from worker.nemo.http.transport import Identity, detect_platform, open_http
from worker.resources.memory_budget import MemoryBudget
from worker.runtime.durability import CheckResult, describe
from worker.runtime.leases import Leases
from worker.storage.store import Store


@dataclass(frozen=True, slots=True)
class Clients:
    """Opens clients of the video API. Each step has its own."""

    api_url: str
    web_url: str
    identity: Identity
    private_hosts: tuple[str, ...] = ()

    @contextmanager
    def open(self, token: SecretStr | None) -> Iterator[NemoClient]:
        """Open a client with a token, or without one to request a token."""
        with open_http() as http:
            yield NemoClient(
                http,
                api_url=self.api_url,
                web_url=self.web_url,
                identity=self.identity,
                token=token,
                private_hosts=self.private_hosts,
            )


@dataclass(slots=True)
class WorkerStatus:
    """Whether this process takes new jobs and pays. Set by the heartbeat, read by the steps."""

    draining: bool = False
    lagging: bool = False
    reasons_not_to_pay: tuple[CheckResult, ...] = ()

    @property
    def may_pay(self) -> bool:
        """Whether paid messages may be sent."""
        return not self.reasons_not_to_pay

    @property
    def why_not_pay(self) -> str:
        """The reasons not to pay as a sentence; empty if there are none."""
        return describe(self.reasons_not_to_pay)


@dataclass(frozen=True, slots=True)
class Runtime:
    """The parts that all stages use."""

    settings: Settings
    ledger: Ledger
    payments: Payments
    accounts: Accounts
    balance_monitor: BalanceMonitor
    leases: Leases
    media: Store
    output: Store
    clients: Clients
    owner: str
    status: WorkerStatus = field(default_factory=WorkerStatus)
    image_memory: MemoryBudget = field(default_factory=lambda: MemoryBudget(MAX_IMAGE_MEMORY))
    """The memory for all images that are decoded at the same time."""

    @classmethod
    def open(cls, settings: Settings) -> "Runtime":
        """Build all parts, without sending anything."""
        ledger = Ledger(
            connect(settings), settings.redis.namespace, lease_seconds=settings.timing.lease_seconds
        )
        payments = Payments(ledger)
        identity = Identity(
            platform=detect_platform(Path(__file__).resolve(), settings.api.skill_platform),
            version=settings.api.skill_version,
        )
        clients = Clients(
            settings.api.url, settings.api.web_url, identity, settings.egress.private_hosts
        )
        accounts = Accounts(settings, ledger, clients.open)
        return cls(
            settings=settings,
            ledger=ledger,
            payments=payments,
            accounts=accounts,
            balance_monitor=BalanceMonitor(settings, ledger, payments, accounts, clients.open),
            leases=Leases(ledger),
            media=Store(settings.storage.media_url),
            output=Store(settings.storage.output_url),
            clients=clients,
            owner=uuid4().hex,
        )


@lru_cache(maxsize=1)
def get_runtime() -> Runtime:
    """Return the runtime of this process, opened at the first call, which follows a fork."""
    return Runtime.open(get_settings())
