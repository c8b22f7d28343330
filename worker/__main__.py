"""Run Celery with the worker's app: ``python -P -m worker COMMAND``.

Celery puts the working folder first in Python's path while it imports the app and the tasks, unless
the folder is already in the path. Here it is last, and our packages are imported before, so that no
module in the folder hides an installed one.
"""

import os
import sys
from contextlib import suppress
from importlib import import_module

from celery import maybe_patch_concurrency
from celery.__main__ import main

# gevent must patch Python before anything else is imported.
maybe_patch_concurrency()
for _name in ("config", "tasks"):
    import_module(_name)
with suppress(FileNotFoundError):  # a folder that was deleted
    sys.path.append(os.getcwd())  # noqa: PTH109 - as Celery compares it
sys.argv[1:1] = ["-A", "worker.app"]
main()
