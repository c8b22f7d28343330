"""The parts of one worker process, built once from the settings."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from uuid import uuid4

import httpx
from pydantic import SecretStr

from config.settings import Settings, get_settings
from worker.accounts.balance_monitor import BalanceMonitor
from worker.accounts.credentials import Accounts, ClientFactory
from worker.journal.identity import IdentityVerdict
from worker.journal.journal import Journal
from worker.ledger.connections.clients import connect
from worker.ledger.connections.replicas import Replicas
from worker.ledger.ledger import Ledger
from worker.ledger.payments import Payments
from worker.media.image_headers import MAX_IMAGE_MEMORY
from worker.nemo.client import NemoClient
from worker.nemo.http.headers import Identity, detect_platform
from worker.nemo.http.leased_clients import LeasedClients
from worker.nemo.http.transport import open_http
from worker.resources.memory_budget import MemoryBudget
from worker.runtime.checks.durability import CheckResult, describe
from worker.runtime.leases import Leases
from worker.storage.store import Store


@dataclass(slots=True)
class WorkerStatus:
    """Whether this process takes new jobs and pays. Set by periodic checks, read by the steps."""

    draining: bool = False
    lagging: bool = False
    redis_failures: tuple[CheckResult, ...] = ()
    journal_failures: tuple[CheckResult, ...] = ()
    identity: IdentityVerdict | None = None
    """Whether the ledger belongs to the payment journal, as of the last check."""
    has_events: bool = True
    """Whether states of jobs wait to be sent to Flower by this worker, as of the last tick."""
    has_webhooks: bool = True
    """Whether messages wait for receivers of webhooks, due or not, as of the last tick."""
    has_polls: bool = True
    """Whether renders wait for their next poll, as of the last tick."""
    recovered_at: int = 0
    """When the ledger was last recovered, in ms of its clock: earlier records may be missing."""

    @property
    def takes_jobs(self) -> bool:
        """Whether this process claims jobs, and continues with those that it has claimed."""
        return not self.draining and not self.lagging

    @property
    def reasons_not_to_pay(self) -> tuple[CheckResult, ...]:
        """The failed checks of Redis and of the payment journal."""
        return self.redis_failures + self.journal_failures

    @property
    def may_pay(self) -> bool:
        """Whether paid messages may be sent."""
        return not self.reasons_not_to_pay

    def may_lack_later_messages(self, sent_at: int) -> bool:
        """Return whether the ledger may lack messages that were sent in a session after a time.

        Args:
            sent_at: The time, in ms of the ledger's clock.
        """
        return bool(self.journal_failures) or sent_at <= self.recovered_at

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
    journal: Journal
    accounts: Accounts
    balance_monitor: BalanceMonitor
    leases: Leases
    media: Store
    output: Store
    http_clients: LeasedClients
    """The connections of all calls of the video API but those of the paid messages."""
    open_client: ClientFactory
    """Opens a client of the API with a token for one caller, on one of these connections."""
    owner: str
    status: WorkerStatus = field(default_factory=WorkerStatus)
    image_memory: MemoryBudget = field(default_factory=lambda: MemoryBudget(MAX_IMAGE_MEMORY))
    """The memory for all images that are decoded at the same time."""

    @classmethod
    def open(cls, settings: Settings) -> "Runtime":
        """Build all parts, without sending anything."""
        ledger = Ledger(
            connect(settings),
            settings.redis.namespace,
            lease_seconds=settings.timing.lease_seconds,
            replicas=Replicas.from_settings(settings),
        )
        return cls.with_ledger(ledger, settings)

    @classmethod
    def with_ledger(cls, ledger: Ledger, settings: Settings) -> "Runtime":
        """Build the other parts for a ledger whose connections a producer shares."""
        payments = Payments(ledger)
        http_clients = LeasedClients(partial(open_http, settings.api.url))
        open_client = client_factory_over(settings, http_clients.lease)
        accounts = Accounts(settings, ledger, open_client)
        return cls(
            settings=settings,
            ledger=ledger,
            payments=payments,
            journal=Journal.open(settings.storage.journal_address, settings.redis.namespace),
            accounts=accounts,
            balance_monitor=BalanceMonitor(settings, ledger, payments, accounts, open_client),
            leases=Leases(ledger),
            media=Store(settings.storage.media_url),
            output=Store(settings.storage.output_url),
            http_clients=http_clients,
            open_client=open_client,
            owner=uuid4().hex,
        )


def client_factory(settings: Settings) -> ClientFactory:
    """Return a function that opens a client of the video API, with connections of its own."""
    return client_factory_over(settings, partial(open_http, settings.api.url))


def client_factory_over(
    settings: Settings, open_connections: Callable[[], AbstractContextManager[httpx.Client]]
) -> ClientFactory:
    """Return a function that opens a client of the video API with a token.

    Without a token, the client can only request an anonymous one.

    Args:
        settings: The settings.
        open_connections: Opens the HTTP client for one client of the API.
    """
    identity = Identity(
        platform=detect_platform(Path(__file__).resolve(), settings.api.skill_platform),
        version=settings.api.skill_version,
    )

    @contextmanager
    def open_client(token: SecretStr | None) -> Iterator[NemoClient]:
        with open_connections() as http:
            yield NemoClient(
                http,
                api_url=settings.api.url,
                web_url=settings.api.web_url,
                identity=identity,
                token=token,
                private_hosts=settings.egress.private_hosts,
            )

    return open_client


@lru_cache(maxsize=1)
def get_runtime() -> Runtime:
    """Return the runtime of this process, opened at the first call, which follows a fork."""
    return Runtime.open(get_settings())
