"""Submit a picture with the package `tasks`, and wait for its record.

    python examples/python_api.py samples/cat.jpg cat-1

The settings of the workers must be in the environment or in the file ``.env``.
"""

import json
import sys

from tasks import submit, wait

image, key = sys.argv[1:]
job = submit({"image": image, "key": key, "prompt": "a 1-second slow push-in"})
record = wait(job.job_id)
print(json.dumps(record.model_dump(mode="json")))
