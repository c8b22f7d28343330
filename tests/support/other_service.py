"""Another service on the same Redis: a Celery app with workers and tasks of its own.

`celery -A tests.support.other_service worker -P solo` starts a worker of it. The broker is taken
from OTHER_SERVICE_BROKER. Its tasks count their runs in Redis.
"""

import os

from celery import Celery
from redis import Redis

BROKER = os.environ["OTHER_SERVICE_BROKER"]
MOST_SECONDS = 60

app = Celery("other_service", broker=BROKER, backend=BROKER)


@app.task(name="other.slow", acks_late=True)
def slow(name: str) -> str:
    """Run until the test says so. Acknowledged at its end."""
    with Redis.from_url(BROKER, socket_timeout=MOST_SECONDS + 10) as client:
        client.incr(f"other:runs:{name}")
        client.blpop([f"other:go:{name}"], timeout=MOST_SECONDS)
    return name


@app.task(name="other.quick")
def quick(name: str) -> str:
    """Run, and end."""
    with Redis.from_url(BROKER) as client:
        client.incr(f"other:runs:{name}")
    return name
