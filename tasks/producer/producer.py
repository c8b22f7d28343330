"""The context that producers work in: the settings, ledger and stores of one namespace.

The operations are functions whose first parameter is a ``Producer``; they are in the modules
beside this one. The package ``tasks`` exports the public ones bound to the default producer.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import redis

from config.settings import Settings, get_settings
from tasks.schema.errors import RedisUnavailable
from worker.journal.journal import Journal
from worker.ledger.connections.clients import RetryOutages, connect
from worker.ledger.connections.replicas import Replicas
from worker.ledger.ledger import Ledger
from worker.storage.store import Store

if TYPE_CHECKING:
    from worker.runtime.runtime import Runtime

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Producer:
    """The settings, ledger and stores of one namespace."""

    settings: Settings
    ledger: Ledger
    media: Store
    output: Store
    journal: Journal

    @classmethod
    def open(cls, settings: Settings) -> "Producer":
        """Create a producer from settings. It connects to Redis at the first command."""
        return cls(
            settings=settings,
            ledger=Ledger(
                connect(settings, retry=RetryOutages()),
                settings.redis.namespace,
                lease_seconds=settings.timing.lease_seconds,
                replicas=Replicas.from_settings(settings),
            ),
            media=Store(settings.storage.media_url),
            output=Store(settings.storage.output_url),
            journal=Journal.open(settings.storage.journal_address, settings.redis.namespace),
        )

    @classmethod
    def from_runtime(cls, runtime: "Runtime") -> "Producer":
        """Create a producer that shares the connections of a worker process."""
        return cls(runtime.settings, runtime.ledger, runtime.media, runtime.output, runtime.journal)

    @contextmanager
    def redis_errors(self) -> Iterator[None]:
        """Turn errors of Redis into ``RedisUnavailable``, whose text says what to do.

        Raises:
            RedisUnavailable: Redis is unreachable, or returned an error such as a full disk.
        """
        try:
            yield
        except redis.AuthenticationError:
            raise RedisUnavailable(
                f"Redis at {self.settings.redis.address.place} refuses the user or the password. "
                "Set the right ones in REDIS_URL."
            ) from None
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise RedisUnavailable(
                f"Redis does not answer at {self.settings.redis.address.place} "
                f"({type(error).__name__}). Start one with `reelqueue valkey`, or set REDIS_URL."
            ) from None
        except redis.RedisError as error:
            raise RedisUnavailable(
                f"Redis returned an error: {error}. Run `reelqueue doctor` to see why."
            ) from None

    def ping(self) -> None:
        """Check that Redis answers.

        Raises:
            RedisUnavailable: Redis does not answer.
        """
        with self.redis_errors():
            self.ledger.redis.ping()

    def clip_price(self) -> float:
        """Return the expected price of a clip in credits, on the most expensive account.

        Raises:
            RedisUnavailable: Redis does not answer.
        """
        with self.redis_errors():
            accounts = self.ledger.accounts()
        at_least = float(self.settings.api.clip_cost)
        return max((account.price(at_least) for account in accounts), default=at_least)

    def configured_concurrency(self) -> int:
        """Return how many jobs the settings allow at a time, for use while no worker reports it."""
        return self.settings.limits.account_in_flight * max(1, len(self.settings.api.tokens))


@functools.lru_cache(maxsize=1)
def default_producer() -> Producer:
    """Return the producer for this process's settings, which is opened at the first use."""
    return Producer.open(get_settings())


def with_default_producer(operation: Callable[Concatenate[Producer, P], T]) -> Callable[P, T]:
    """Return an operation without its first parameter, which becomes the default producer."""

    @functools.wraps(operation)
    def bound(*args: P.args, **kwargs: P.kwargs) -> T:
        return operation(default_producer(), *args, **kwargs)

    signature = inspect.signature(operation)
    _, *parameters = signature.parameters.values()
    bound.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return bound
