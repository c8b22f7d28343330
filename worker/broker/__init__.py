"""Celery's connection to the broker in a worker: no error and no message there ends the worker."""
