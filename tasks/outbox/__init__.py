"""Delivers what the outbox contains: Celery results, batch indexes, webhooks."""
