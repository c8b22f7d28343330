"""Clients of the two Redis servers: that of the records, and that of the Celery queues."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, cast

from redis import BlockingConnectionPool, Redis
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from config.redis_address import RedisAddress
from config.settings import Settings
from worker.ledger.connections.readiness import BlockingPool

T = TypeVar("T")

MAX_CONNECTIONS: Final = 16
"""The most connections of one client. A caller that needs one more waits, which costs little: the
server runs one command at a time."""


class BlockingSentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """A limited number of connections to the primary that Sentinels name."""


class RetryOutages(Retry):
    """Retries for about five seconds while Redis is away, but not if it refuses the password.

    redis-py retries each command and, within it, the connection. If Redis demands a password that
    the address lacks, both fail, and a command would take most of a minute.
    """

    def __init__(self) -> None:
        super().__init__(ExponentialWithJitterBackoff(base=0.01, cap=1), 10)

    def call_with_retry(
        self,
        do: Callable[[], T],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> T:
        """Call a function until it succeeds, the tries are over, or the password is refused."""

        def is_outage(error: Exception) -> bool:
            refused = isinstance(error, AuthenticationError)
            return not refused and (is_retryable is None or is_retryable(error))

        return super().call_with_retry(do, fail, is_outage, with_failure_count)


def connect(settings: Settings, *, retry: Retry | None = None) -> Redis:
    """Open a client of the records that decodes to text. Nothing is sent yet.

    Args:
        settings: Where the records are.
        retry: When commands are tried again, instead of the client's own rules.
    """
    return _open(
        settings.redis.address,
        **({} if retry is None else {"retry": retry}),
        decode_responses=True,
        # Bytes that are not text make one record unreadable, not the whole page that is read.
        encoding_errors="replace",
        **_timeouts(settings),
    )


def connect_to_broker(settings: Settings) -> Redis:
    """Open a client of the Celery queues that does not decode. Nothing is sent yet."""
    return _open(settings.redis.broker_address, **_timeouts(settings))


def connect_without_retries(address: RedisAddress, seconds: float) -> Redis:
    """Open a client that decodes to text, tries once, and waits this long for a reply."""
    return _open(
        address,
        decode_responses=True,
        encoding_errors="replace",
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        retry=Retry(NoBackoff(), 0),
    )


def _timeouts(settings: Settings) -> dict[str, Any]:
    return {
        "socket_timeout": settings.redis_timeout,
        "socket_connect_timeout": settings.redis_connect_timeout,
        "health_check_interval": settings.redis_timeout,
    }


def _open(address: RedisAddress, **arguments: Any) -> Redis:  # noqa: ANN401 - redis-py's
    """Open a client at an address, whose own options override the arguments."""
    arguments |= address.client_arguments()
    bounds = {"max_connections": MAX_CONNECTIONS, "timeout": arguments["socket_timeout"]}
    if address.path:
        return _bounded(Redis(unix_socket_path=address.path, **arguments), bounds)
    arguments["socket_keepalive"] = True
    if not address.master:
        ((host, port),) = address.hosts
        return _bounded(Redis(host=host, port=port, **arguments), bounds)
    sentinels: Any = Sentinel(  # type: ignore[no-untyped-call]
        list(address.hosts),
        sentinel_kwargs={
            "socket_timeout": arguments["socket_timeout"],
            "socket_connect_timeout": arguments["socket_connect_timeout"],
            **address.sentinel_arguments(),
        },
    )
    return cast(
        "Redis",
        sentinels.master_for(
            address.master,
            connection_pool_class=BlockingSentinelPool,
            **bounds,
            **arguments,
        ),
    )


def _bounded(client: Redis, bounds: Mapping[str, Any]) -> Redis:
    """Return a client like this one whose callers wait while all its connections are in use.

    By default, redis-py then raises the same error as for a server that is away.
    """
    pool: Any = client.connection_pool
    arguments = {**pool.connection_kwargs, **bounds}
    blocking = BlockingPool(connection_class=pool.connection_class, **arguments)
    return Redis.from_pool(blocking)
