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


class ResultBackend(RedisBackend):
    """The backend for one server."""

    max_connections = MAX_CONNECTIONS

    @property
    def ConnectionPool(self) -> type[BlockingPool]:  # noqa: N802 - Celery's name
        """The class of the connection pool."""
        return BlockingPool


class SentinelResultBackend(SentinelBackend):
    """The backend for a server that Sentinels name."""

    max_connections = MAX_CONNECTIONS

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
