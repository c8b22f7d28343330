"""Celery's result backends, whose callers wait for one of a few connections.

One backend serves all greenlets of a worker. By itself, it refuses a caller while a hundred others
store a result.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from celery.backends.redis import RedisBackend, SentinelBackend

from worker.ledger.connections.clients import BlockingSentinelPool
from worker.ledger.connections.readiness import BlockingPool

MAX_CONNECTIONS: Final = 8


def set_and_publish(
    self: RedisBackend, key: str, value: str | bytes, expires: float | None = None
) -> None:
    """Store a result, then tell who waits for it, as Celery does, but not as a transaction.

    A transaction is two commands more, and whoever is told reads what was stored before.
    """
    backend: Any = self
    with backend.client.pipeline(transaction=False) as pipe:
        pipe.set(key, value, ex=(backend.expires if expires is None else expires) or None)
        pipe.publish(key, value)
        pipe.execute()


class ResultBackend(RedisBackend):
    """The backend for one server."""

    max_connections = MAX_CONNECTIONS
    _set = set_and_publish

    @property
    def ConnectionPool(self) -> type[BlockingPool]:  # noqa: N802 - Celery's name
        """The class of the connection pool."""
        return BlockingPool


class SentinelResultBackend(SentinelBackend):
    """The backend for a server that Sentinels name."""

    max_connections = MAX_CONNECTIONS
    _set = set_and_publish

    # Celery's own, which its types leave out.
    _get_sentinel_instance: Callable[..., Any]
    _get_client: Callable[[], Any]
    _transport_options: Mapping[str, Any]

    def _get_pool(self, **params: Any) -> Any:  # noqa: ANN401 - redis-py's
        """Return the connection pool, as Celery's own method does with another class."""
        credentials = {name: params[name] for name in ("username", "password") if name in params}
        client = self._get_sentinel_instance(**params).master_for(
            self._transport_options["master_name"],
            redis_class=self._get_client(),
            connection_pool_class=BlockingSentinelPool,
            **credentials,
        )
        return client.connection_pool


RESULT_BACKENDS: Final = {
    "redis": f"{__name__}:{ResultBackend.__name__}",
    "rediss": f"{__name__}:{ResultBackend.__name__}",
    "sentinel": f"{__name__}:{SentinelResultBackend.__name__}",
}
"""The backends by the schemes of their addresses, as Celery's loaders name them."""
