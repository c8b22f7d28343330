"""Submit a picture from a service that has Celery and nothing of ours, and follow it.

    REDIS_URL=redis://127.0.0.1:6379/0 python celery_only.py https://example.com/cat.jpg cat-1

Needs ``celery[redis]`` alone. A path must lie in a folder of the workers' REELQUEUE_MEDIA_ROOTS.
"""

import json
import os
import sys
from uuid import NAMESPACE_URL, uuid5

from celery import Celery

image, key = sys.argv[1:]
redis = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
app = Celery(broker=redis, backend=redis)

payload = {"image": image, "key": key, "prompt": "a 1-second slow push-in"}
app.send_task("tasks.submit", args=[payload]).get(timeout=60)  # raises if it is refused
# The id is known beforehand: the answer need not be waited for, or may be lost.
job_id = str(uuid5(NAMESPACE_URL, f"reelqueue:job:{key}"))

# Raises if the job fails or is cancelled. A held job is HELD, which is no end: look at `state`.
record = app.AsyncResult(job_id).get(timeout=3600)
print(json.dumps(record))
