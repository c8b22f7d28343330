"""Submit a picture from a service that has only Celery, and wait for its record.

    REDIS_URL=redis://127.0.0.1:6379/0 python celery_only.py https://example.com/cat.jpg cat-1

Only ``celery[redis]`` must be installed. A local path must be in a folder that the workers' setting
REELQUEUE_MEDIA_ROOTS names.
"""

import argparse
import json
import os
from uuid import NAMESPACE_URL, uuid5

from celery import Celery

parser = argparse.ArgumentParser(description="Submit a picture, and wait for its record.")
parser.add_argument("image", help="a path, or an address such as https://example.com/cat.jpg")
parser.add_argument("key", help="the idempotency key: the same key is the same job")
given = parser.parse_args()
redis = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
app = Celery(broker=redis, backend=redis)

payload = {"image": given.image, "key": given.key, "prompt": "a 1-second slow push-in"}
# Raises if the payload is invalid.
app.send_task("tasks.submit", queue="reelqueue", args=[payload]).get(timeout=60)
# The key determines the id, so it is known even if the answer is lost.
job_id = str(uuid5(NAMESPACE_URL, f"reelqueue:job:{given.key}"))

# Raises if the job fails or is cancelled. A held job has the state HELD, and get() waits for it.
record = app.AsyncResult(job_id).get(timeout=3600)
print(json.dumps(record))
