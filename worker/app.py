"""The Celery app. ``celery -A worker.app worker -P gevent`` needs no further options."""

import re
import sys
from typing import Any, Final, NoReturn

import click
import structlog
from celery import Celery, signals
from kombu.transport import TRANSPORT_ALIASES
from pydantic import ValidationError
from redis.exceptions import RedisError

from config.celery import celery_config
from config.observability import configure_logging, init_sentry
from config.settings import Settings, describe_problems, get_settings
from config.unknown_variables import unknown_variables
from worker.broker.consumer import CONSUMER
from worker.broker.events import EVENTS
from worker.broker.result_backend import RESULT_BACKENDS
from worker.broker.startup_check import connection_problems
from worker.broker.transport import SENTINEL_TRANSPORT, SOCKET_SCHEME, TRANSPORT
from worker.egress.proxies import environment_problems
from worker.intake.bootstep import IntakeStep
from worker.resources.freed_memory import return_freed_memory
from worker.resources.garbage import collect_less_often
from worker.resources.preload import preload_modules
from worker.runtime.bootsteps import PeriodicWorkStep
from worker.runtime.checks.journal_monitor import JournalMonitor
from worker.runtime.periodic_thread import PeriodicThread
from worker.runtime.runtime import get_runtime
from worker.runtime.worker_registry import forget_node, registered_name, unregister_worker
from worker.telemetry.event_sender import EventsStep
from worker.telemetry.metrics_server import MetricsStep

log = structlog.get_logger(__name__)

COMMAND_LINE: Final = click.core.ParameterSource.COMMANDLINE
BAD_SETTINGS: Final = 2
"""The exit status for settings with which no worker can run."""


def _exit_with(message: str) -> NoReturn:
    """End the process without a traceback, for a mistake that its user can correct."""
    sys.stderr.write(f"{message}\n")
    sys.exit(BAD_SETTINGS)


def _settings() -> Settings:
    try:
        return get_settings()
    except ValidationError as error:
        _exit_with(describe_problems(error))


app = Celery("reelqueue", events=EVENTS)
app.loader.override_backends = RESULT_BACKENDS
app.config_from_object(celery_config(_settings()))
# Set here and not in the configuration, because only a worker has a consumer.
app.conf.worker_consumer = CONSUMER
app.conf.broker_transport = (
    SENTINEL_TRANSPORT if get_settings().redis.broker_address.master else TRANSPORT
)
# The address of a Unix socket names its transport, which would replace the one above.
TRANSPORT_ALIASES[SOCKET_SCHEME] = TRANSPORT
app.conf.update(
    broker_url=re.sub(r"^redis\+socket:", f"{SOCKET_SCHEME}+socket:", str(app.conf.broker_url))
)
app.steps["worker"].update((PeriodicWorkStep, EventsStep, IntakeStep, MetricsStep))


@signals.setup_logging.connect
def _set_up_logging(loglevel: int | None = None, **_: Any) -> None:  # noqa: ANN401 - Celery's
    """Replace Celery's logging, which would print tokens. A level on the command line applies."""
    context = click.get_current_context(silent=True)
    is_given = context is not None and context.get_parameter_source("loglevel") is COMMAND_LINE
    configure_logging(get_settings(), level=loglevel if is_given else None)


@signals.worker_init.connect
def _prepare_process(**_: Any) -> None:  # noqa: ANN401 - Celery's signature
    """Prepare what must be ready before the pool starts."""
    settings = get_settings()
    unknown = list(unknown_variables())
    if unknown:
        log.warning("unknown variables", why=" ".join(map(str, unknown)))
    for wrong in environment_problems(settings.api.url):
        if wrong.is_fatal:
            _exit_with(str(wrong))
        log.warning("environment variable not usable", variable=wrong.variable, why=wrong.message)
    for problem in connection_problems(settings):
        if problem.is_fatal:
            _exit_with(problem.message)
        log.warning("Redis server not usable", why=problem.message)
    init_sentry(settings)
    preload_modules()
    return_freed_memory()
    collect_less_often()


@signals.worker_process_init.connect
def _start_prefork_child(**_: Any) -> None:  # noqa: ANN401 - Celery's signature
    """Give a prefork child its own connections, owner id and heartbeat."""
    get_runtime.cache_clear()
    runtime = get_runtime()
    interval = runtime.settings.timing.lease_seconds / 3
    PeriodicThread("heartbeat", interval, runtime.leases.heartbeat).start()
    PeriodicThread("journal", interval, JournalMonitor(runtime).run_once).start()


@signals.worker_shutting_down.connect
def _start_draining(sig: str, **_: Any) -> None:  # noqa: ANN401 - Celery's signature
    """Claim no more jobs. Short steps finish, and paid streams are read to their end."""
    runtime = get_runtime()
    runtime.status.draining = True
    log.info(
        "worker is draining",
        signal=sig,
        running_steps=len(runtime.leases),
        max_seconds=round(runtime.leases.max_remaining_seconds(), 1),
    )


@signals.worker_shutdown.connect
def _unregister(sender: Any, **_: Any) -> None:  # noqa: ANN401 - Celery's signature
    """Remove the worker from the registry."""
    runtime = get_runtime()
    name = registered_name(sender.hostname, runtime.owner)
    try:
        unregister_worker(runtime.ledger, name)
        forget_node(runtime.ledger, name)
    except RedisError as error:
        # Its registration expires by itself.
        log.warning("worker could not be unregistered", error=str(error))
