"""Serves a worker's metrics over HTTP, where a port is set.

One thread listens, which under gevent is a greenlet, and one serves each scrape. It begins behind
the pool, so that prefork children, which have no figures of the service, serve nothing.
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

from config.settings import get_settings
from worker.ledger.connection import connect_without_retries
from worker.ledger.reader import Reader
from worker.runtime.periodic_thread import PeriodicThread
from worker.runtime.repeat_filter import RepeatFilter
from worker.runtime.runtime import Runtime, get_runtime
from worker.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

PORT_PAUSE: Final = 5.0
"""Between two tries for a port that is taken: by the worker before this one, which drains."""
SERVER_SECONDS: Final = 2.0
"""How long Redis and the broker are each waited for: both within the 10 s of a scrape."""
SCRAPER_SECONDS: Final = 10.0
"""How long a scraper that says nothing is listened to."""

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Handler(WSGIRequestHandler):
    timeout = SCRAPER_SECONDS

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """No line for a scrape."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_port = False  # two workers on one port would answer by turns

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002
        """A scraper that went away is worth a line, and no traceback."""
        log.info("a scrape was cut off", error=repr(sys.exception()))


class _Server6(_Server):
    address_family = socket.AF_INET6


class Exporter:
    """One address; whoever drives it decides when to try again."""

    def __init__(self, host: str, port: int, app: Wsgi) -> None:
        """Open nothing yet."""
        self._host = host
        self._port = port
        self._app = app
        self._failures = RepeatFilter()

    def serve(self) -> None:
        """Serve for good. An address that cannot be had is told once, and no reason to stop."""
        kind = _Server6 if ":" in self._host else _Server
        try:
            server = make_server(self._host, self._port, self._app, kind, _Handler)
        except OSError as error:
            if self._failures.is_new(str(error)):
                log.warning(
                    "metrics are not served; everything else goes on",
                    host=self._host,
                    port=self._port,
                    error=str(error),
                    remedy="Free the port, or set REELQUEUE_METRICS_PORT: each worker on a machine "
                    f"needs its own. It is tried again every {PORT_PAUSE:g} s.",
                )
            return
        log.info("metrics are served", host=self._host, port=self._port, path="/metrics")
        with server:
            server.serve_forever()


def metrics_registry(runtime: Runtime) -> CollectorRegistry:
    """All metrics of a process, on connections of their own that give up soon."""
    settings = runtime.settings
    records = Reader(
        connect_without_retries(settings.redis.url, SERVER_SECONDS),
        settings.redis.namespace,
        lease_seconds=settings.timing.lease_seconds,
    )
    registry = CollectorRegistry()
    registry.register(
        Metrics(runtime, records, connect_without_retries(settings.redis.broker, SERVER_SECONDS))
    )
    return registry


class MetricsStep(bootsteps.StartStopStep):
    """Serves metrics from the worker's start to the end of its process, the drain included."""

    requires = ("celery.worker.components:Pool",)

    def include_if(self, parent: Any) -> bool:  # noqa: ARG002, ANN401 - celery's signature
        """Only where a port is set."""
        return get_settings().operations.metrics_port is not None

    def start(self, parent: Any) -> None:  # noqa: ARG002, ANN401 - celery's worker
        """Begin to listen."""
        runtime = get_runtime()
        settings = runtime.settings
        if settings.operations.metrics_port is not None:
            app = make_wsgi_app(metrics_registry(runtime))
            exporter = Exporter(
                settings.operations.metrics_host, settings.operations.metrics_port, app
            )
            PeriodicThread("metrics", PORT_PAUSE, exporter.serve).start()
