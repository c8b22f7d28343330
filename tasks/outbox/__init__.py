"""What the worker sends out of the outbox: Celery results, batch indexes, webhooks."""
