"""The stages of a job, one module each, and the Celery tasks that run them."""
