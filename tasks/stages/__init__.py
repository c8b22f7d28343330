"""One module for each stage of a job, and the Celery tasks that run them."""
