"""The Celery app: ``celery -A worker.app worker -P gevent`` with nothing else is right."""

from typing import Any

import structlog
from celery import Celery, signals

from config.celery import celery_config
from config.observability import configure_logging, init_sentry
from config.settings import get_settings
from worker.runtime.bootsteps import AgendaStep
from worker.runtime.periodic_thread import PeriodicThread
from worker.runtime.runtime import get_runtime
from worker.runtime.worker_registry import unregister_worker
from worker.telemetry.metrics_server import MetricsStep

log = structlog.get_logger(__name__)

app = Celery("reelqueue")
app.config_from_object(celery_config(get_settings()))
app.steps["worker"].update((AgendaStep, MetricsStep))


@signals.setup_logging.connect
def _logging(**_: Any) -> None:  # noqa: ANN401 - celery's signature
    """Own the logging of worker and beat alike: Celery would print tokens it does not know."""
    configure_logging(get_settings())


@signals.worker_init.connect
def _init(**_: Any) -> None:  # noqa: ANN401 - celery's signature
    init_sentry(get_settings())


@signals.worker_process_init.connect
def _child(**_: Any) -> None:  # noqa: ANN401 - celery's signature
    """A prefork child works on its own: its own connections, owner and pulse."""
    get_runtime.cache_clear()
    runtime = get_runtime()
    PeriodicThread(
        "heartbeat", runtime.settings.timing.lease_seconds / 3, runtime.leases.heartbeat
    ).start()


@signals.worker_shutting_down.connect
def _drain(sig: str, **_: Any) -> None:  # noqa: ANN401 - celery's signature
    """Claim nothing from now on; short steps finish, a paid stream is heard to its end."""
    runtime = get_runtime()
    runtime.status.draining = True
    log.info(
        "draining: no new work is taken",
        signal=sig,
        steps_under_way=len(runtime.leases),
        at_most_seconds=round(runtime.leases.longest(), 1),
    )


@signals.worker_shutdown.connect
def _gone(sender: Any, **_: Any) -> None:  # noqa: ANN401 - celery's signature
    unregister_worker(get_runtime().ledger, sender.hostname)
