"""The settings of Celery, derived from ours: settings in, a plain dictionary out.

The choices are measured ones for Celery 5.7 on Redis: the agenda is the timer and the
dead-man's switch, so a Celery message is only a hint, acknowledged early and never redelivered.
"""

from datetime import timedelta
from typing import Any, Final

from kombu import Queue

from config.settings import Settings

SUBMIT_QUEUE: Final = "celery"
"""Where other services send ``tasks.submit``: Celery's own default."""

STAGES: Final = ("prepare", "generate", "settle", "render", "deliver", "notify", "hooks")


def wakeup_queue(namespace: str) -> str:
    """The queue of the ticker's hints, apart from submissions so that neither buries the other."""
    return f"{namespace}.wakeups"


def celery_config(settings: Settings) -> dict[str, Any]:
    """The whole configuration of the Celery app."""
    wakeups = wakeup_queue(settings.redis.namespace)
    # Without time-outs and health checks a half-open connection stops a worker for good. Kombu
    # looks for one at every interval of the health check, and gives it up after another.
    patience = settings.redis_timeout
    connecting = settings.redis_connect_timeout
    transport = {
        "ack_emulation": False,
        "socket_timeout": patience,
        "socket_connect_timeout": connecting,
        "socket_keepalive": True,
        "health_check_interval": patience / 3,
        "queue_order_strategy": "round_robin",
    }
    return {
        "broker_url": settings.redis.broker.get_secret_value(),
        "result_backend": settings.redis.url.get_secret_value(),
        "broker_transport_options": transport,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_pool_acquire_timeout": 5,
        "broker_pool_limit": 20,
        "redis_socket_timeout": patience,
        "redis_socket_connect_timeout": connecting,
        "redis_socket_keepalive": True,
        "redis_backend_health_check_interval": patience,
        "result_expires": timedelta(days=settings.retention.result_days),
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "task_publish_retry": False,
        "task_acks_late": False,
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        "task_send_sent_event": True,
        "worker_send_task_events": True,
        "worker_concurrency": settings.limits.concurrency,
        "worker_prefetch_multiplier": 1,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "task_default_queue": SUBMIT_QUEUE,
        "task_queues": [Queue(SUBMIT_QUEUE), Queue(wakeups)],
        "task_routes": {f"tasks.{stage}": {"queue": wakeups} for stage in STAGES},
        "imports": ["tasks.intake", "tasks.stages.celery_tasks"],
        "timezone": "UTC",
        "enable_utc": True,
    }
