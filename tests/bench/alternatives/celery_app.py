"""A Celery app with one task a job, which does all calls: nothing that it knows survives it.

Run it with `celery -A tests.bench.alternatives.celery_app worker -P gevent`, or with processes,
`-P prefork`, as most people would.
"""

import os
from pathlib import Path

from celery import Celery

from tests.bench.alternatives.calls import make_clip

URL = os.environ.get("COMPARISON_REDIS_URL")
TASK = "comparison.make_clip"

app = Celery("comparison", broker=URL, backend=URL)
app.conf.broker_connection_retry_on_startup = True


@app.task(name=TASK)
def make(api: str, image: str, output: str, poll_seconds: float) -> str:
    """Make a clip of an image."""
    make_clip(api, Path(image), Path(output), poll_seconds)
    return image
