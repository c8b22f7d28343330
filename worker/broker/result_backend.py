"""Celery's result backends, with fewer commands, and a few connections that callers wait for.

One backend serves all greenlets of a worker. Celery's own raises an error if more than a hundred of
them store a result at once; here they wait for a connection.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from celery import states
from celery.backends.base import BaseKeyValueStoreBackend
from celery.backends.redis import RedisBackend, SentinelBackend

from worker.ledger.connections.clients import BlockingSentinelPool
from worker.ledger.connections.readiness import BlockingPool

MAX_CONNECTIONS: Final = 8
PROGRESS: Final = "PROGRESS"
"""The state of a job that is running, in Celery's results."""
_SET_FIRST: Final = """
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', unpack(ARGV, 2)) then return 0 end
redis.call('PUBLISH', KEYS[1], ARGV[1])
return 1
"""
"""Stores and publishes a result if none is stored. Returns whether it was stored."""
_SET_PROGRESS: Final = """
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', unpack(ARGV, 2)) then
  local is_json, meta = pcall(cjson.decode, redis.call('GET', KEYS[1]))
  if not is_json or type(meta) ~= 'table' or meta.status ~= 'PROGRESS' then return 0 end
  redis.call('SET', KEYS[1], ARGV[1], unpack(ARGV, 2))
end
redis.call('PUBLISH', KEYS[1], ARGV[1])
return 1
"""
"""Stores and publishes progress where no result but progress is stored. Returns whether it was."""
_SET_UNLESS_NEWER: Final = """
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', unpack(ARGV, 3)) then
  local is_json, meta = pcall(cjson.decode, redis.call('GET', KEYS[1]))
  if is_json and type(meta) == 'table' then
    local is_newer = (tonumber(meta.revision) or 0) > tonumber(ARGV[2])
    if is_newer or meta.status == 'SUCCESS' then return 0 end
  end
  redis.call('SET', KEYS[1], ARGV[1], unpack(ARGV, 3))
end
redis.call('PUBLISH', KEYS[1], ARGV[1])
return 1
"""
"""Stores and publishes a result, unless a success, or that of a later revision, is stored."""


class FewerCommands(BaseKeyValueStoreBackend):
    """Stores results as Celery's own backends do, with fewer commands and round trips."""

    # Celery's own, which its types leave out.
    client: Any
    expires: float | None
    set: Callable[..., Any]
    ensure: Callable[..., Any]
    _get_result_meta: Callable[..., dict[str, Any]]

    def _store_result(
        self,
        task_id: str,
        result: Any,  # noqa: ANN401 - Celery's
        state: str,
        traceback: str | None = None,
        request: Any = None,  # noqa: ANN401 - Celery's
        **details: Any,  # noqa: ANN401 - Celery's
    ) -> Any:  # noqa: ANN401 - Celery's
        """Store a result, but let nothing except a success replace a success.

        Celery reads the stored result before each write. Here, that is done only for a state other
        than success, and only if there is a stored result.
        """
        key = self.get_key_for_task(task_id)
        meta = self._get_result_meta(result, state, traceback, request)
        value = self.encode({**meta, "task_id": task_id})
        if state == states.SUCCESS:
            self.set(key, value)
        elif not self.ensure(self._set_first, (key, value)):
            super()._store_result(  # type: ignore[misc]
                task_id, result, state, traceback, request, **details
            )
        return result

    def store_job_result(
        self,
        task_id: str,
        result: Any,  # noqa: ANN401 - Celery's
        state: str,
        revision: int,
    ) -> None:
        """Store the result of a job as its record has it in a revision.

        A worker can be frozen before this write, or its connection can stall, while another one
        stores the result of a later revision. That one stays.
        """
        if state == states.SUCCESS:
            self.store_result(task_id, result, state)
            return
        meta = self._get_result_meta(self.encode_result(result, state), state, None, None)
        value = self.encode({**meta, "task_id": task_id, "revision": revision})
        self.ensure(self._set_unless_newer, (self.get_key_for_task(task_id), value, revision))

    def store_progress(self, task_id: str, progress: Mapping[str, str]) -> bool:
        """Store the progress of a step that may be late, and return whether it was stored.

        A worker can be frozen here, or its connection can stall, while another one ends the job.
        The progress therefore replaces nothing but progress.
        """
        meta = self._get_result_meta(progress, PROGRESS, None, None)
        value = self.encode({**meta, "task_id": task_id})
        key = self.get_key_for_task(task_id)
        return bool(self.ensure(self._set_progress, (key, value)))

    def _set(self, key: str, value: str | bytes, expires: float | None = None) -> None:
        """Store a result, and publish it to the callers that wait for it, as Celery does.

        Celery uses a transaction, which takes two more commands. It is not needed, because the
        result is stored before it is published.
        """
        with self.client.pipeline(transaction=False) as pipe:
            pipe.set(key, value, ex=(self.expires if expires is None else expires) or None)
            pipe.publish(key, value)
            pipe.execute()

    def _set_first(self, key: str, value: str | bytes) -> bool:
        """Store and publish a result as `_set` does, if none is stored; return whether it was."""
        return bool(self.client.eval(_SET_FIRST, 1, key, value, *self._expiry))

    def _set_unless_newer(self, key: str, value: str | bytes, revision: int) -> None:
        self.client.eval(_SET_UNLESS_NEWER, 1, key, value, revision, *self._expiry)

    def _set_progress(self, key: str, value: str | bytes) -> bool:
        return bool(self.client.eval(_SET_PROGRESS, 1, key, value, *self._expiry))

    @property
    def _expiry(self) -> tuple[str | int, ...]:
        """The options of SET for the time after which a result expires."""
        return ("EX", int(self.expires)) if self.expires else ()


class ResultBackend(FewerCommands, RedisBackend):
    """The backend for one server."""

    max_connections = MAX_CONNECTIONS

    @property
    def ConnectionPool(self) -> type[BlockingPool]:  # noqa: N802 - Celery's name
        """The class of the connection pool."""
        return BlockingPool


class SentinelResultBackend(FewerCommands, SentinelBackend):
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
