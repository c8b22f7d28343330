"""Polls of renders: claimed and committed in groups, without a Celery task each."""
