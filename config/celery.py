"""The configuration of Celery, derived from the settings.

The values were measured with Celery 5.7 on Redis. The ledger's agenda schedules and repeats all
work, so a Celery message is only a wake-up message: acknowledged early and never redelivered.
"""

from datetime import timedelta
from typing import Any, Final

from kombu import Queue

from config.settings import Settings

INTERNAL_TASKS: Final = (
    *("tasks.prepare", "tasks.generate", "tasks.settle", "tasks.render", "tasks.deliver"),
    *("tasks.notify", "tasks.hooks"),
)
"""The Celery tasks of stages and notifications, whose events `REELQUEUE_STAGE_EVENTS` turns on."""


def wakeup_queue(namespace: str) -> str:
    """Return the name of the queue of wake-up messages, which submissions do not delay."""
    return f"{namespace}.wakeups"


def celery_config(settings: Settings) -> dict[str, Any]:
    """Return the whole configuration of the Celery app."""
    wakeups = wakeup_queue(settings.redis.namespace)
    # Without timeouts and health checks, a half-open connection would stop a worker forever. Kombu
    # checks a connection once per interval, and closes it after a second one without a reply.
    timeout = settings.redis_timeout
    connect_timeout = settings.redis_connect_timeout
    records, broker = settings.redis.address, settings.redis.broker_address
    transport = {
        "ack_emulation": False,
        "socket_timeout": timeout,
        "socket_connect_timeout": connect_timeout,
        "socket_keepalive": True,
        "health_check_interval": timeout / 3,
        "queue_order_strategy": "round_robin",
        **broker.celery_transport_options(),
    }
    return {
        "broker_url": broker.celery_url(),
        "broker_use_ssl": broker.tls,
        "broker_transport_options": transport,
        "result_backend": records.celery_url(),
        "redis_backend_use_ssl": records.tls,
        "result_backend_transport_options": records.celery_transport_options(),
        # Without it, each greenlet opens its own backend, with its own connections.
        "result_backend_thread_safe": True,
        "broker_connection_retry_on_startup": True,
        "broker_channel_error_retry": True,
        "broker_connection_max_retries": None,
        "broker_pool_acquire_timeout": 5,
        "broker_pool_limit": 20,
        "redis_socket_timeout": timeout,
        "redis_socket_connect_timeout": connect_timeout,
        # Connections over a Unix socket do not accept this option.
        "redis_socket_keepalive": not records.path,
        "redis_backend_health_check_interval": timeout,
        "result_expires": timedelta(days=settings.retention.result_days),
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "task_publish_retry": False,
        "task_acks_late": False,
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        # A `task-sent` event, for example of a submission through Flower, would show the prompt.
        "task_send_sent_event": False,
        # Flower shows one row a job, whose events worker/telemetry/event_sender.py sends.
        "task_annotations": {
            name: {"send_events": settings.operations.stage_events} for name in INTERNAL_TASKS
        },
        "worker_send_task_events": True,
        "worker_concurrency": settings.limits.concurrency,
        "worker_prefetch_multiplier": 1,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # Submissions have a separate consumer; that of Celery reads wake-up messages only.
        "task_default_queue": wakeups,
        "task_queues": [Queue(wakeups)],
        "task_routes": {"tasks.submit": {"queue": settings.redis.submit_queue}},
        "imports": ["tasks.intake", "tasks.stages.celery_tasks", "tasks.polls.bootstep"],
        "timezone": "UTC",
        "enable_utc": True,
    }
