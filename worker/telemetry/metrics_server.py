"""The HTTP server of a worker's metrics, which runs if a port is configured.

One thread listens and one serves each scrape; under gevent they are greenlets. The server starts
after the pool, so that prefork children do not inherit it.
"""

import socket
import sys
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from celery import bootsteps
from prometheus_client import CollectorRegistry, make_wsgi_app
from redis import Redis

from config.settings import Settings, get_settings
from worker.ledger.connections.clients import connect_without_retries
from worker.ledger.reader import Reader
from worker.runtime.periodic_thread import PeriodicThread
from worker.runtime.repeat_filter import RepeatFilter
from worker.runtime.runtime import Runtime, get_runtime
from worker.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

PORT_RETRY_SECONDS: Final = 5.0
"""Interval of the tries to listen on a port in use, for example by a worker that drains."""
REDIS_TIMEOUT: Final = 2.0
"""Time limit for each of Redis and the broker, as a scrape has 10 s for both."""
REQUEST_TIMEOUT: Final = 10.0

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_TIMEOUT

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Log nothing for a scrape."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_port = False  # two workers on one port would answer alternately

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002
        """Log a scrape that was cut off in one line, without a traceback."""
        log.info("scrape was cut off", error=repr(sys.exception()))


class _Server6(_Server):
    address_family = socket.AF_INET6


class Exporter:
    """Serves a WSGI app on one address."""

    def __init__(self, host: str, port: int, app: Wsgi) -> None:
        self._host = host
        self._port = port
        self._app = app
        self._failures = RepeatFilter()

    def serve(self) -> None:
        """Serve forever, or return if the address cannot be used, which is logged once."""
        kind = _Server6 if ":" in self._host else _Server
        try:
            server = make_server(self._host, self._port, self._app, kind, _Handler)
        except OSError as error:
            if self._failures.is_new(str(error)):
                log.warning(
                    "metrics are not served; everything else works",
                    host=self._host,
                    port=self._port,
                    error=str(error),
                    remedy="Free the port or change REELQUEUE_METRICS_PORT: each worker on a "
                    f"machine needs its own. The port is tried every {PORT_RETRY_SECONDS:g} s.",
                )
            return
        log.info("metrics are served", host=self._host, port=self._port, path="/metrics")
        with server:
            server.serve_forever()


def scrape_clients(settings: Settings) -> tuple[Redis, Redis]:
    """Open clients of the records and of the broker, with short timeouts."""
    return (
        connect_without_retries(settings.redis.address, REDIS_TIMEOUT),
        connect_without_retries(settings.redis.broker_address, REDIS_TIMEOUT),
    )


def metrics_registry(runtime: Runtime, records: Redis, broker: Redis) -> CollectorRegistry:
    """Register all metrics of a process, which are read through these clients."""
    settings = runtime.settings
    reader = Reader(records, settings.redis.namespace, lease_seconds=settings.timing.lease_seconds)
    registry = CollectorRegistry()
    registry.register(Metrics(runtime, reader, broker))
    return registry


class MetricsStep(bootsteps.StartStopStep):
    """Serves metrics from the start of the worker to the end of its process."""

    requires = ("celery.worker.components:Pool",)

    def include_if(self, parent: Any) -> bool:  # noqa: ARG002, ANN401 - Celery's signature
        """Return whether a port is configured."""
        return get_settings().operations.metrics_port is not None

    def start(self, parent: Any) -> None:  # noqa: ARG002, ANN401 - Celery's worker
        """Start to listen."""
        runtime = get_runtime()
        operations = runtime.settings.operations
        if operations.metrics_port is not None:
            app = make_wsgi_app(metrics_registry(runtime, *scrape_clients(runtime.settings)))
            exporter = Exporter(operations.metrics_host, operations.metrics_port, app)
            PeriodicThread("metrics", PORT_RETRY_SECONDS, exporter.serve).start()
