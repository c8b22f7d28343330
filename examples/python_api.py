"""Submit a picture with the package `tasks`, and wait for its record.

    python examples/python_api.py samples/cat.jpg cat-1

The settings of the workers must be in the environment or in the file ``.env``.
"""

import argparse
import json

from tasks import submit, wait

parser = argparse.ArgumentParser(description="Submit a picture, and wait for its record.")
parser.add_argument("image", help="a path, or an address such as https://example.com/cat.jpg")
parser.add_argument("key", help="the idempotency key: the same key is the same job")
given = parser.parse_args()
job = submit({"image": given.image, "key": given.key, "prompt": "a 1-second slow push-in"})
record = wait(job.job_id)
print(json.dumps(record.model_dump(mode="json")))
