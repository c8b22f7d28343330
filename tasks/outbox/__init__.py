"""Notifications from the outbox: Celery results, batch files, webhooks."""
